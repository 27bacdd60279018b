# Headers, libraries, CMake package and pkg-config file; everything is found relative to where it stands.
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/harken)
install(TARGETS ${libraries} EXPORT harkenTargets
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT harken
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT harken)
install(DIRECTORY include/harken DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT harken FILES_MATCHING PATTERN "*.h" PATTERN "*.hpp")
install(EXPORT harkenTargets NAMESPACE harken:: DESTINATION ${package_dir} COMPONENT harken)
configure_package_config_file(cmake/harkenConfig.cmake.in harkenConfig.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(harkenConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/harkenConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/harkenConfigVersion.cmake
        DESTINATION ${package_dir} COMPONENT harken)
file(RELATIVE_PATH prefix_from_pc ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" prefix_from_pc "${prefix_from_pc}")
configure_file(cmake/harken.pc.in harken.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/harken.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT harken)
