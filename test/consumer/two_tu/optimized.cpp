// SPDX-License-Identifier: Apache-2.0
#include "answer.hpp"

std::string optimized_answer() { return compute_answer(); }
