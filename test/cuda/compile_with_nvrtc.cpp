// SPDX-License-Identifier: Apache-2.0
// Compiles a source with the toolkit's run-time compiler, as a user without nvcc would; no GPU, no driver.
//   nvrtc_test ARCH (-h HEADER | SOURCE) INCLUDE_DIR...
// ARCH as in compute_75: 75; HEADER as in #include <HEADER>.
// Every message of the compiler is a failure, and so is a source that gives no kernel; a header alone has none.
#include <nvrtc.h>

#include <cstddef>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace {

struct arguments {
  std::string arch;
  std::string header;
  std::string source;
  std::vector<std::string> include_dirs;
};

bool parse(int count, char** values, arguments& a) {
  if (count < 4) return false;
  a.arch = values[1];
  int next = 2;
  if (std::strcmp(values[next], "-h") == 0)
    a.header = values[++next];
  else
    a.source = values[next];
  a.include_dirs.assign(values + next + 1, values + count);
  return true;
}

bool read_text(const std::string& path, std::string& text) {
  std::ifstream file(path);
  std::ostringstream content;
  content << file.rdbuf();
  text = content.str();
  return file.good() && !text.empty();
}

bool succeeded(nvrtcResult result, const char* call) {
  if (result != NVRTC_SUCCESS) std::fprintf(stderr, "%s: %s\n", call, nvrtcGetErrorString(result));
  return result == NVRTC_SUCCESS;
}

//! NVRTC's strings are asked for by size first.
template <class Size, class Get>
std::string text_of(nvrtcProgram program, const Size& size_of, const Get& get) {
  std::size_t bytes = 0;
  if (size_of(program, &bytes) != NVRTC_SUCCESS || bytes == 0) return {};
  std::vector<char> text(bytes);
  return get(program, text.data()) == NVRTC_SUCCESS ? std::string(text.data()) : std::string();
}

bool compiles(const arguments& a, const std::string& text) {
  nvrtcProgram program = nullptr;
  const char* name = a.header.empty() ? a.source.c_str() : "header_alone.cu";
  if (!succeeded(nvrtcCreateProgram(&program, text.c_str(), name, 0, nullptr, nullptr), "nvrtcCreateProgram"))
    return false;
  std::vector<std::string> flags{"-default-device", "--std=c++17", "--gpu-architecture=compute_" + a.arch};
  for (const std::string& folder : a.include_dirs) flags.push_back("-I" + folder);
  std::vector<const char*> pointers;
  for (const std::string& flag : flags) pointers.push_back(flag.c_str());

  bool good = succeeded(nvrtcCompileProgram(program, static_cast<int>(pointers.size()), pointers.data()), name);
  const std::string log = text_of(program, nvrtcGetProgramLogSize, nvrtcGetProgramLog);
  if (!log.empty()) {
    std::fprintf(stderr, "%s\n", log.c_str());
    good = false;
  }
  if (good && a.header.empty() && text_of(program, nvrtcGetPTXSize, nvrtcGetPTX).find(".entry") == std::string::npos) {
    std::fprintf(stderr, "%s: no kernel in the result\n", name);
    good = false;
  }
  nvrtcDestroyProgram(&program);
  return good;
}

}  // namespace

int main(int count, char** values) {
  arguments a;
  if (!parse(count, values, a)) {
    std::fprintf(stderr, "usage: nvrtc_test ARCH (-h HEADER | SOURCE) INCLUDE_DIR...\n");
    return 2;
  }
  std::string text = "#include <" + a.header + ">\n#include <" + a.header + ">\n";
  if (a.header.empty() && !read_text(a.source, text)) {
    std::fprintf(stderr, "nvrtc_test: cannot read %s\n", a.source.c_str());
    return 2;
  }
  return compiles(a, text) ? 0 : 1;
}
