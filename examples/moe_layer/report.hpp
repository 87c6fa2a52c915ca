// SPDX-License-Identifier: Apache-2.0
// What the demo shows: tables for the terminal, and a picture.
#pragma once

#include <string>
#include <vector>

#include "model_layer.hpp"
#include "recording.hpp"
#include "resonance_layer.hpp"

namespace demo {

//! Both metrics on one layer, in the order of `metrics`.
using layer_results = std::vector<resonance_result>;

double max_over_mean(const std::vector<std::int64_t>& loads);

void print_model_layer(const recording& data, const model_layer_result& result);
void print_resonance(const recording& data, const std::vector<layer_results>& layers);

//! Draws the answered layer. Returns "" or one line that names the file and the fault.
std::string write_picture(const std::string& path, const recording& data, const layer_results& results);

}  // namespace demo
