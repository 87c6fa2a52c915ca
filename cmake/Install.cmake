# SPDX-License-Identifier: Apache-2.0
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(config_dir "${CMAKE_INSTALL_DATADIR}/cmake/Resonance")
install(TARGETS resonance EXPORT ResonanceTargets INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT ResonanceTargets NAMESPACE resonance:: DESTINATION ${config_dir})
install(DIRECTORY include/resonance DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING PATTERN "*.hpp" PATTERN "*.cuh")
install(FILES LICENSE DESTINATION "${CMAKE_INSTALL_DATADIR}/licenses/resonance")

configure_package_config_file(cmake/ResonanceConfig.cmake.in "${PROJECT_BINARY_DIR}/ResonanceConfig.cmake"
                              INSTALL_DESTINATION ${config_dir} NO_SET_AND_CHECK_MACRO)
# Before 1.0 a minor version may change the interface. Headers suit any architecture.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/ResonanceConfigVersion.cmake"
                                 COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES "${PROJECT_BINARY_DIR}/ResonanceConfig.cmake" "${PROJECT_BINARY_DIR}/ResonanceConfigVersion.cmake"
        DESTINATION ${config_dir})
