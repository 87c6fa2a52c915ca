// SPDX-License-Identifier: Apache-2.0
// The files of a run, which appear all together or not at all, and its summary.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "resonance_route/options.hpp"
#include "resonance_route/run.hpp"

namespace route_cli {

//! Files are written under temporary names and take their own in commit(); until then, and after a failure in it, the
//! destructor removes whatever this object made.
class output_files {
 public:
  output_files() = default;
  output_files(const output_files&) = delete;
  output_files& operator=(const output_files&) = delete;
  ~output_files();

  //! Creates a directory with its parents. Like everything here, throws failure.
  void directory(const std::filesystem::path& path);
  template <class T>
  void array(const std::filesystem::path& path, const std::vector<std::size_t>& shape, const std::vector<T>& values);
  void text(const std::filesystem::path& path, const std::string& content);
  void commit();

 private:
  struct staged {
    std::filesystem::path temporary, final;
    bool in_place = false;
  };
  std::filesystem::path stage(const std::filesystem::path& path);

  std::vector<staged> files_;
  std::vector<std::filesystem::path> directories_;
  std::size_t renamed_ = 0;
  bool committed_ = false;
};

//! Stages the arrays of a routing in `directory`; returns their file names.
std::vector<std::string> stage_arrays(output_files& files, const std::filesystem::path& directory, const options& o,
                                      const routing& r);

//! The JSON document, with a newline at its end.
std::string summary_json(const options& o, const routing& r, const std::vector<std::string>& files);

//! One line for a person.
std::string summary_line(const routing& r);

}  // namespace route_cli
