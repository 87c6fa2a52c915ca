// SPDX-License-Identifier: Apache-2.0
// The same work, compiled into both translation units.
#ifndef RESONANCE_TEST_CONSUMER_ANSWER_HPP
#define RESONANCE_TEST_CONSUMER_ANSWER_HPP

#include <resonance/resonance.hpp>

#include <string>

namespace {

std::string compute_answer() { return resonance::status{}.message(); }

}  // namespace

#endif
