// SPDX-License-Identifier: Apache-2.0
//! \file
//! Installs the listener in a test program, whether or not its sources include the header.
#include <simt/environment.hpp>
