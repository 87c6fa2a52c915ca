// SPDX-License-Identifier: Apache-2.0
// resonance-route: the library's host router on .npy files. --help says the rest.
#include <cstdlib>
#include <exception>
#include <iostream>
#include <new>
#include <string>

#include "resonance_route/inputs.hpp"
#include "resonance_route/options.hpp"
#include "resonance_route/outputs.hpp"
#include "resonance_route/run.hpp"

namespace {

int fail(const std::string& message) {
  std::cerr << "resonance-route: " << message << '\n';
  return EXIT_FAILURE;
}

void run(route_cli::options o) {
  const route_cli::inputs in = route_cli::read_inputs(o);
  const route_cli::routing r = route_cli::route(o, in);
  route_cli::output_files files;
  std::vector<std::string> names;
  if (!o.out.empty()) names = route_cli::stage_arrays(files, o.out, o, r);
  const std::string json = route_cli::summary_json(o, r, names);
  if (!o.json.empty()) files.text(o.json, json);
  std::cout << (o.json.empty() ? json : route_cli::summary_line(r)) << std::flush;
  if (!std::cout) throw route_cli::failure("standard output: cannot be written");
  files.commit();
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (std::optional<route_cli::options> o = route_cli::parse(argc, argv)) run(std::move(*o));
    return EXIT_SUCCESS;
  } catch (const std::bad_alloc&) {
    return fail("the arrays of this run do not fit into memory");
  } catch (const std::exception& error) {
    return fail(error.what());
  }
}
