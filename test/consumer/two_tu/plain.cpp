// SPDX-License-Identifier: Apache-2.0
#include "answer.hpp"

std::string plain_answer() { return compute_answer(); }
