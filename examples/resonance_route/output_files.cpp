// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <fstream>
#include <random>
#include <system_error>

#include "resonance_route/outputs.hpp"
#include "support/npy.hpp"

namespace route_cli {
namespace {

namespace fs = std::filesystem;

// Two runs into one directory must not meet in a temporary name.
const std::string& temporary_suffix() {
  static const std::string suffix = ".partial-" + std::to_string(std::random_device{}());
  return suffix;
}

}  // namespace

output_files::~output_files() {
  if (committed_) return;
  std::error_code ignored;
  for (std::size_t i = 0; i < files_.size(); ++i)
    if (!files_[i].in_place) fs::remove(i < renamed_ ? files_[i].final : files_[i].temporary, ignored);
  for (auto made = directories_.rbegin(); made != directories_.rend(); ++made) fs::remove(*made, ignored);
}

void output_files::directory(const fs::path& path) {
  std::error_code code;
  if (fs::is_directory(path, code)) return;
  if (fs::exists(path, code)) throw failure("--out " + path.string() + ": exists and is not a directory");
  const fs::path parent = path.parent_path();
  if (!parent.empty() && parent != path) directory(parent);
  // "a/b/" names the same directory as "a/b", which the call above has then made.
  const bool made = fs::create_directory(path, code);
  if (code) throw failure("--out " + path.string() + ": cannot be created: " + code.message());
  if (made) directories_.push_back(path);
}

// Renaming replaces a file at once, but would also replace a link or a device such as /dev/null: a link is followed,
// and what is not a regular file is written in place.
fs::path output_files::stage(const fs::path& path) {
  std::error_code code;
  staged file;
  file.final = fs::is_symlink(path, code) ? fs::weakly_canonical(path, code) : path;
  if (fs::is_directory(file.final, code)) throw failure(path.string() + ": is a directory, want a file name");
  file.in_place = fs::exists(file.final, code) && !fs::is_regular_file(file.final, code);
  file.temporary = file.final;
  if (!file.in_place) file.temporary += temporary_suffix();
  files_.push_back(file);
  return file.temporary;
}

template <class T>
void output_files::array(const fs::path& path, const std::vector<std::size_t>& shape, const std::vector<T>& values) {
  if (!npy::save(stage(path).string(), shape, values.data()).empty())
    throw failure(path.string() + ": cannot be written");
}
template void output_files::array(const fs::path&, const std::vector<std::size_t>&, const std::vector<float>&);
template void output_files::array(const fs::path&, const std::vector<std::size_t>&, const std::vector<std::int32_t>&);

void output_files::text(const fs::path& path, const std::string& content) {
  std::ofstream out(stage(path), std::ios::binary);
  out << content << std::flush;
  if (!out) throw failure(path.string() + ": cannot be written");
}

void output_files::commit() {
  for (; renamed_ < files_.size(); ++renamed_) {
    const staged& file = files_[renamed_];
    if (file.in_place) continue;
    std::error_code code;
    fs::rename(file.temporary, file.final, code);
    if (code) throw failure(file.final.string() + ": cannot be written: " + code.message());
  }
  committed_ = true;
}

}  // namespace route_cli
