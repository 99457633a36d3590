# Packages: cpack --config build/release/CPackConfig.cmake makes onecopy_VERSION_ARCH.deb and onecopy-dev_….deb of what
# install.cmake lays down, for the Debian or Ubuntu that it runs on. DEBFULLNAME and DEBEMAIL say who makes them.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME onecopy)
set(CPACK_PACKAGE_VENDOR onecopy)
set(maintainer onecopy)
set(address root@localhost)
if(DEFINED ENV{DEBFULLNAME})
  set(maintainer $ENV{DEBFULLNAME})
endif()
if(DEFINED ENV{DEBEMAIL})
  set(address $ENV{DEBEMAIL})
endif()
set(CPACK_PACKAGE_CONTACT "${maintainer} <${address}>")
set(CPACK_PACKAGE_DIRECTORY ${PROJECT_BINARY_DIR})
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ
    WORLD_EXECUTE)

set(CPACK_COMPONENTS_ALL runtime development)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_ENABLE_COMPONENT_DEPENDS OFF)

set(CPACK_DEBIAN_RUNTIME_PACKAGE_NAME onecopy)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SECTION science)
set(CPACK_COMPONENT_RUNTIME_DESCRIPTION "mixture-of-experts language models on NUMA servers
Runs large language models on CPU servers, with one MPI rank on each NUMA
node and the model in memory once over all of them: GGUF files and Hugging
Face directories, a command line, and an OpenAI-compatible server.")
# Libraries are found by dpkg-shlibdeps; what is started or imported is listed.
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_DEPENDS "openmpi-bin")
if(TARGET onecopy_jinja_worker)
  string(APPEND CPACK_DEBIAN_RUNTIME_PACKAGE_DEPENDS ", python3-jinja2")
endif()
# Several hosts, jobs for Slurm, launch/bench_serve.
set(CPACK_DEBIAN_RUNTIME_PACKAGE_RECOMMENDS "openssh-client")
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SUGGESTS "python3, slurm-client")

set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME onecopy-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_COMPONENT_DEVELOPMENT_DESCRIPTION "runtime of onecopy for other programs
A header, static libraries and a CMake package: a program of its own that
loads a model over all ranks of an MPI job and generates with it.")
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "libopenmpi-dev, libprotobuf-dev, libnuma-dev, libfmt-dev, libspdlog-dev, nlohmann-json3-dev, libpcre2-dev, libutf8proc-dev, pkg-config")
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_RECOMMENDS "onecopy, g++, cmake")

# What Debian wants beside: a changelog of its form, the licence, a script that makes the service's user.
set(debian ${PROJECT_BINARY_DIR}/debian)
file(MAKE_DIRECTORY ${debian})
string(TIMESTAMP today "%a, %d %b %Y %H:%M:%S +0000" UTC)
file(WRITE ${debian}/changelog "onecopy (${PROJECT_VERSION}) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- ${CPACK_PACKAGE_CONTACT}  ${today}\n")
execute_process(COMMAND gzip -9nf ${debian}/changelog COMMAND_ERROR_IS_FATAL ANY)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_CONTROL_EXTRA ${PROJECT_SOURCE_DIR}/launch/debian/postinst)
foreach(part runtime development)
  string(REPLACE development onecopy-dev folder ${part})
  string(REPLACE runtime onecopy folder ${folder})
  install(FILES launch/debian/copyright ${debian}/changelog.gz DESTINATION share/doc/${folder} COMPONENT ${part})
endforeach()
include(CPack)
