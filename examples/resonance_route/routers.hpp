// SPDX-License-Identifier: Apache-2.0
// The catalogue by name.
#pragma once

#include <string>

#include "resonance_route/options.hpp"

namespace route_cli {

//! What --list-routers prints: a line per router with what it computes, its source, and what it needs.
std::string list_of_routers();

//! Sets the policies and numbers of a router of the catalogue. Throws failure for a name that is not in it.
void apply_router(const std::string& name, options& o);

}  // namespace route_cli
