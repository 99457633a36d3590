# What `cmake --install` and cpack lay down. Two parts: `runtime`, the program, and `development`, runtime/api for other
# programs.
#   bin/onecopy            a link to launch/onecopy, which finds the rest by where it really is
#   lib/onecopy/           the program, the renderer of chat templates; launch/ beside them as in the tree
#   share/onecopy/models   the models that ship
include(GNUInstallDirs)
set(home lib/onecopy)

set(CMAKE_INSTALL_DEFAULT_COMPONENT_NAME runtime)
install(TARGETS onecopy RUNTIME DESTINATION ${home})
if(TARGET onecopy_jinja_worker)
  install(TARGETS onecopy_jinja_worker RUNTIME DESTINATION ${home})
endif()
install(PROGRAMS launch/onecopy launch/host_daemon launch/bench_serve launch/slurm.sbatch DESTINATION ${home}/launch)
install(FILES launch/complete.bash launch/folders.bash launch/host_watch.bash launch/machine.bash launch/submit.bash launch/supervise.bash launch/README.md
        DESTINATION ${home}/launch)
install(DIRECTORY launch/machines DESTINATION ${home}/launch)
install(CODE "
  set(bin \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/bin\")
  message(STATUS \"Installing: \${bin}/onecopy\")
  file(MAKE_DIRECTORY \"\${bin}\")
  file(CREATE_LINK ../${home}/launch/onecopy \"\${bin}/onecopy\" SYMBOLIC)")
install(FILES models/tiny-moe-q8_0.gguf models/tiny-moe-q4_k_m.gguf models/README.md DESTINATION share/onecopy/models)

install(FILES README.md CHANGELOG.md SECURITY.md LICENSE DESTINATION share/doc/onecopy)
install(FILES launch/mpijob.yaml launch/slurm.sbatch launch/grafana.json DESTINATION share/doc/onecopy/examples)
install(FILES launch/onecopy.service DESTINATION lib/systemd/system)
install(FILES launch/onecopy.sysusers DESTINATION lib/sysusers.d RENAME onecopy.conf)
install(FILES launch/complete/onecopy.bash DESTINATION share/bash-completion/completions RENAME onecopy)
# Debian's zsh looks elsewhere for what packages bring.
install(CODE "
  set(zsh site-functions)
  if(CMAKE_INSTALL_PREFIX MATCHES \"/usr\$\" AND EXISTS /etc/debian_version)
    set(zsh vendor-completions)
  endif()
  file(INSTALL \"${PROJECT_SOURCE_DIR}/launch/complete/_onecopy\" DESTINATION \"\${CMAKE_INSTALL_PREFIX}/share/zsh/\${zsh}\")")
install(FILES launch/complete/onecopy.fish DESTINATION share/fish/vendor_completions.d)

find_package(Python3 REQUIRED COMPONENTS Interpreter)
# The manual: a frame by hand, the options from the program itself.
add_custom_command(OUTPUT ${PROJECT_BINARY_DIR}/onecopy.1 ${PROJECT_BINARY_DIR}/onecopy.1.gz
  COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/cmake/manual.py ${PROJECT_SOURCE_DIR}/launch/onecopy.1.in
          $<TARGET_FILE:onecopy> ${PROJECT_VERSION} ${PROJECT_BINARY_DIR}/onecopy.1
  DEPENDS onecopy launch/onecopy.1.in cmake/manual.py VERBATIM)
# Sanitised programs are not installed, and slow to start a dozen times.
set(always ALL)
if(ONECOPY_SANITIZE)
  set(always "")
endif()
add_custom_target(manual ${always} DEPENDS ${PROJECT_BINARY_DIR}/onecopy.1.gz)
install(FILES ${PROJECT_BINARY_DIR}/onecopy.1.gz DESTINATION share/man/man1)

set(CMAKE_INSTALL_DEFAULT_COMPONENT_NAME development)
install(TARGETS onecopy_api onecopy_session onecopy_exec onecopy_shard onecopy_comm onecopy_numa onecopy_report onecopy_text
                onecopy_jinja onecopy_model onecopy_proto onecopy_kernels onecopy_base
        EXPORT onecopy ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}/onecopy)
set_target_properties(onecopy_api PROPERTIES EXPORT_NAME runtime)
target_include_directories(onecopy_api INTERFACE $<INSTALL_INTERFACE:include>)
install(FILES runtime/api/runtime.h DESTINATION include/onecopy)
install(EXPORT onecopy NAMESPACE onecopy:: FILE onecopy-targets.cmake DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/onecopy)
include(CMakePackageConfigHelpers)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/onecopy-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES cmake/onecopy-config.cmake ${PROJECT_BINARY_DIR}/onecopy-config-version.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/onecopy)
install(DIRECTORY examples/generate DESTINATION share/doc/onecopy/examples)
