// SPDX-License-Identifier: Apache-2.0
//! \file
//! What device headers include in CUDA's place when they are compiled for the CPU executor (README.md): the words of
//! the language, intrinsics, atomics, the few runtime names that the library uses, and the executor's own hooks.
#ifndef RESONANCE_TEST_SIMT_SIMT_HPP
#define RESONANCE_TEST_SIMT_SIMT_HPP

#include <simt/atomics.hpp>
#include <simt/control.hpp>
#include <simt/language.hpp>
#include <simt/launch.hpp>
#include <simt/memory.hpp>
#include <simt/warp.hpp>

#endif
