# cmake -DSOURCE=TREE -DOUT=FILE.cc -P commit.cmake: which commit this is, as a constant of the program. Written only where it
# changed, so that nothing else is compiled again after a commit. In a git tree `git describe`; in an archive of one
# (git archive) what git has put into commit.txt; elsewhere unknown.
set(commit "unknown")
file(READ ${CMAKE_CURRENT_LIST_DIR}/commit.txt archived)
string(STRIP "${archived}" archived)
if(NOT archived MATCHES "^\\$")
  set(commit "${archived}")
else()
  find_program(GIT git)
  if(GIT)
    # Also where the tree is another user's, as in a build by root. A tree that only lies in somebody else's repository is not one.
    execute_process(COMMAND ${GIT} -c safe.directory=* -C ${SOURCE} rev-parse --show-prefix OUTPUT_VARIABLE prefix RESULT_VARIABLE failed
                    OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    if(NOT failed AND prefix STREQUAL "")
      execute_process(COMMAND ${GIT} -c safe.directory=* -C ${SOURCE} describe --long --always --dirty --abbrev=12 OUTPUT_VARIABLE described
                      OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
      if(described)
        set(commit "${described}")
      endif()
    endif()
  endif()
endif()
set(text "#include \"runtime/cli/build_info.h\"\nnamespace onecopy::cli {\nconst char kCommit[] = \"${commit}\";\n}\n")
set(before "")
if(EXISTS ${OUT})
  file(READ ${OUT} before)
endif()
if(NOT text STREQUAL before)
  file(WRITE ${OUT} "${text}")
endif()
