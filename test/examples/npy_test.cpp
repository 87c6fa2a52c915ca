// SPDX-License-Identifier: Apache-2.0
#include "support/npy.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace {

using npy::dtype;
using sizes = std::vector<std::size_t>;

constexpr std::size_t payload_start = 128;

// What numpy.save writes, byte for byte: `dict` padded with spaces to end on byte 128.
std::string numpy_file(const std::string& dict, const std::string& payload) {
  std::string out("\x93NUMPY\x01\x00v\x00", 10);
  out += dict;
  out.append(payload_start - 1 - out.size(), ' ');
  return out + "\n" + payload;
}

std::string dict_of(const std::string& descr, const std::string& order, const std::string& shape) {
  return "{'descr': " + descr + ", 'fortran_order': " + order + ", 'shape': " + shape + ", }";
}

const std::string two_by_three = dict_of("'<f4'", "False", "(2, 3)");
const std::string zero_to_five("\x00\x00\x00\x00\x00\x00\x80?\x00\x00\x00@\x00\x00@@\x00\x00\x80@\x00\x00\xa0@", 24);

npy::result<npy::header> parse(const std::string& bytes, const npy::expect& wanted = {}) {
  return npy::parse(bytes.data(), bytes.size(), "x.npy", wanted);
}

std::string error_of(const std::string& bytes, const npy::expect& wanted = {}) { return parse(bytes, wanted).error; }

std::string error_of_dict(const std::string& dict, const npy::expect& wanted = {}) {
  return error_of(numpy_file(dict, ""), wanted);
}

class npy_files : public testing::Test {
 protected:
  void SetUp() override {
    const std::string name = testing::UnitTest::GetInstance()->current_test_info()->name();
    folder = std::filesystem::path(testing::TempDir()) / ("npy_test_" + name + std::to_string(getpid()));
    std::filesystem::create_directories(folder);
  }
  void TearDown() override { std::filesystem::remove_all(folder); }
  std::string path(const std::string& name) const { return (folder / name).string(); }
  std::string write(const std::string& name, const std::string& bytes) const {
    std::ofstream(path(name), std::ios::binary) << bytes;
    return path(name);
  }
  template <class T>
  void round_trip(const sizes& shape, const std::vector<T>& values) {
    const std::string file = path("round_trip.npy");
    ASSERT_EQ(npy::save(file, shape, values.data()), "");
    const auto read = npy::load(file);
    ASSERT_TRUE(read) << read.error;
    EXPECT_EQ(read.value.type(), npy::dtype_of<T>::value);
    EXPECT_EQ(read.value.shape(), shape);
    EXPECT_EQ(read.value.template values<T>(), values);
    EXPECT_EQ(read.value.head.payload_offset % 64, 0u);
  }
  std::filesystem::path folder;
};

TEST_F(npy_files, round_trips_keep_type_shape_and_bits) {
  round_trip<float>({2, 3}, {0.0f, -0.0f, 1.5f, 3e38f, 1e-45f, -7.0f});
  round_trip<std::uint16_t>({3}, {0x3e00, 0x8000, 0x7e01});
  round_trip<std::int32_t>({1, 2, 2}, {-1, 0, 2147483647, -2147483647 - 1});
  round_trip<std::uint8_t>({4}, {0, 1, 254, 255});
  round_trip<float>({}, {2.5f});
  round_trip<float>({0, 8}, {});
}

TEST_F(npy_files, writes_the_bytes_that_numpy_writes) {
  const std::vector<float> values{0, 1, 2, 3, 4, 5};
  ASSERT_EQ(npy::save(path("a.npy"), {2, 3}, values.data()), "");
  std::ifstream in(path("a.npy"), std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  EXPECT_EQ(bytes, numpy_file(two_by_three, zero_to_five));
  EXPECT_EQ(npy::header_bytes(dtype::float16, {2}), numpy_file(dict_of("'<f2'", "False", "(2,)"), ""));
  EXPECT_EQ(npy::header_bytes(dtype::int32, {}), numpy_file(dict_of("'<i4'", "False", "()"), ""));
}

TEST_F(npy_files, reads_what_numpy_wrote) {
  const auto matrix = npy::load(write("f4.npy", numpy_file(two_by_three, zero_to_five)), {2, {dtype::float32}});
  ASSERT_TRUE(matrix) << matrix.error;
  EXPECT_EQ(matrix.value.shape(), (sizes{2, 3}));
  EXPECT_EQ(matrix.value.values<float>(), (std::vector<float>{0, 1, 2, 3, 4, 5}));
  EXPECT_TRUE(matrix.value.values<std::int32_t>().empty());

  const std::string half = numpy_file(dict_of("'<f2'", "False", "(2,)"), std::string("\x00>\x00\xc0", 4));
  const auto vector = npy::load(write("f2.npy", half));
  ASSERT_TRUE(vector) << vector.error;
  EXPECT_EQ(vector.value.values<std::uint16_t>(), (std::vector<std::uint16_t>{0x3e00, 0xc000}));
}

TEST_F(npy_files, names_the_file_in_every_fault_of_the_file_system) {
  EXPECT_EQ(npy::load(path("none.npy")).error, path("none.npy") + ": no such file");
  EXPECT_EQ(npy::load(folder.string()).error, folder.string() + ": not a regular file");
  const std::string cut = write("cut.npy", numpy_file(two_by_three, zero_to_five.substr(0, 23)));
  EXPECT_EQ(npy::load(cut).error, cut + ": truncated: shape (2, 3) of float32 wants 24 bytes of data, found 23");
  EXPECT_TRUE(npy::load(cut).value.file.empty());
  const float value = 1;
  const std::string nowhere = path("no_such_folder/a.npy");
  EXPECT_EQ(npy::save(nowhere, {1}, &value), nowhere + ": cannot be opened for writing");
  if (std::filesystem::exists("/dev/full")) {
    EXPECT_EQ(npy::save("/dev/full", {1}, &value), "/dev/full: cannot be written to its end");
  }
}

TEST(npy_parse, accepts_versions_2_and_3_any_key_order_and_alignment) {
  const std::string dict = "{ \"shape\":(2 , 3),'fortran_order':False , \"descr\":'<f4'}\n";
  for (const char major : {'\x02', '\x03'}) {
    std::string bytes("\x93NUMPY", 6);
    bytes += {major, '\0', static_cast<char>(dict.size()), '\0', '\0', '\0'};
    const auto parsed = parse(bytes + dict + zero_to_five);
    ASSERT_TRUE(parsed) << parsed.error;
    EXPECT_EQ(parsed.value.shape, (sizes{2, 3}));
    EXPECT_EQ(parsed.value.payload_offset, bytes.size() + dict.size());
    EXPECT_EQ(parsed.value.count(), 6u);
  }
}

TEST(npy_parse, refuses_what_is_no_npy_file) {
  EXPECT_EQ(error_of(""), "x.npy: not a .npy file");
  EXPECT_EQ(error_of("PK\x03\x04 an .npz"), "x.npy: not a .npy file");
  EXPECT_EQ(error_of("\x93NUMPY\x01"), "x.npy: truncated: ends inside the .npy header");
  EXPECT_EQ(error_of(std::string("\x93NUMPY\x01\x00v", 9)), "x.npy: truncated: ends inside the .npy header");
  EXPECT_EQ(error_of(std::string("\x93NUMPY\x04\x00v\x00", 10)), "x.npy: unsupported .npy version 4.0");
  EXPECT_EQ(error_of(std::string("\x93NUMPY\x01\x01v\x00", 10)), "x.npy: unsupported .npy version 1.1");
  EXPECT_EQ(error_of(numpy_file(two_by_three, "").substr(0, 100)),
            "x.npy: truncated: the .npy header wants 118 bytes, found 90");
  EXPECT_EQ(error_of(std::string("\x93NUMPY\x02\x00\xff\xff\xff\xff{", 13)),
            "x.npy: truncated: the .npy header wants 4294967295 bytes, found 1");
}

TEST(npy_parse, refuses_a_malformed_dict) {
  const std::string fault = "x.npy: malformed .npy header";
  for (const std::string dict : {"", "{", "{}", "{'descr': '<f4', 'fortran_order': False}", "{'descr': '<f4",
                                 "{'descr' '<f4'}", "{'descr': '<f4', 'fortran_order': Maybe, 'shape': (1,)}",
                                 "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
                                 "{'descr': '<f4', 'fortran_order': False, 'shape': (1.5,)}",
                                 "{'descr': '<f4', 'fortran_order': False, 'shape': (1 2)}",
                                 "{'descr': '<f4', 'fortran_order': False, 'shape': 1}",
                                 "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'extra': 1}",
                                 "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}",
                                 "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} more"}) {
    EXPECT_EQ(error_of_dict(dict), fault) << dict;
  }
}

TEST(npy_parse, names_an_unsupported_dtype_in_one_printable_line) {
  const std::string f8 = dict_of("'<f8'", "False", "(1,)");
  EXPECT_EQ(error_of_dict(f8), "x.npy: unsupported dtype '<f8', want float32, float16, int32 or uint8");
  EXPECT_EQ(error_of_dict(dict_of("'>f4'", "False", "(1,)"), {2, {dtype::float32, dtype::float16}}),
            "x.npy: unsupported dtype '>f4', want float32 or float16");
  EXPECT_EQ(error_of_dict(dict_of("'<i4'", "False", "(1,)"), {1, {dtype::float32}}),
            "x.npy: unsupported dtype '<i4', want float32");
  EXPECT_EQ(error_of_dict(dict_of("[('a', '<f4')]", "False", "(1,)"), {1, {dtype::float32}}),
            "x.npy: unsupported dtype 'structured', want float32");
  EXPECT_EQ(error_of_dict(dict_of("'a\nb\x1b'", "False", "(1,)"), {1, {dtype::float32}}),
            "x.npy: unsupported dtype 'a?b?', want float32");
}

TEST(npy_parse, refuses_fortran_order_and_wrong_rank) {
  EXPECT_EQ(error_of_dict(dict_of("'<f4'", "True", "(2, 3)")),
            "x.npy: Fortran order is not supported, save a C-order array");
  EXPECT_EQ(error_of(numpy_file(two_by_three, zero_to_five), {1}), "x.npy: wrong rank: want 1 dimensions, found 2");
  EXPECT_EQ(error_of_dict(dict_of("'<f4'", "False", "()"), {2}), "x.npy: wrong rank: want 2 dimensions, found 0");
}

TEST(npy_parse, refuses_a_shape_that_the_bytes_do_not_bear_out) {
  EXPECT_EQ(error_of(numpy_file(two_by_three, zero_to_five + "+")),
            "x.npy: data after the end: shape (2, 3) of float32 wants 24 bytes of data, found 25");
  EXPECT_EQ(error_of_dict(dict_of("'<f4'", "False", "(1000000000000,)")),
            "x.npy: truncated: shape (1000000000000,) of float32 wants 4000000000000 bytes of data, found 0");
  const std::string too_large = "x.npy: the shape is too large for this machine";
  EXPECT_EQ(error_of_dict(dict_of("'<f4'", "False", "(4294967296, 4294967296)")), too_large);
  EXPECT_EQ(error_of_dict(dict_of("'<f4'", "False", "(9223372036854775807,)")), too_large);
  EXPECT_EQ(error_of_dict(dict_of("'<f4'", "False", "(18446744073709551616,)")), too_large);
  EXPECT_EQ(error_of_dict(dict_of("'<f4'", "False", "(0, 9223372036854775807)")), too_large);
  std::string many = "{'descr':'|u1','fortran_order':False,'shape':(";
  for (int i = 0; i < 65; ++i) many += "1,";
  many += ")}\n";
  const std::string start("\x93NUMPY\x01\x00", 8);
  EXPECT_EQ(error_of(start + static_cast<char>(many.size()) + std::string(1, '\0') + many + "x"),
            "x.npy: more than 64 dimensions");
}

}  // namespace
