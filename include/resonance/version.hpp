// SPDX-License-Identifier: Apache-2.0
//! \file
//! The one version of the library: CMake, the package file and the inline namespace read it here.
#ifndef RESONANCE_VERSION_HPP
#define RESONANCE_VERSION_HPP

#define RESONANCE_VERSION_MAJOR 0
#define RESONANCE_VERSION_MINOR 1
#define RESONANCE_VERSION_PATCH 0

#endif
