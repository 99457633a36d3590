#!/usr/bin/env bash
# Tests of the completions: every command and option that the helps name is offered, in each shell that is installed.
#   complete_test.sh [NAME-PATTERN]
set -uo pipefail
# shellcheck source=tests/launch/support.bash
source "$(dirname "${BASH_SOURCE[0]}")/support.bash"
real=$source_tree/build/release/onecopy
if [[ ! -x $real ]]; then
  echo "SKIPPED: $real is not built"
  exit 0
fi
cp "$real" "$tree/build/release/onecopy"
cp -r "$source_tree/launch/complete" "$tree/launch/"

offered() { "$onecopy" --complete "$@" 2>&1; }
first_words() { cut -f1 | tr '\n' ' '; }

test_words() {
  local commands command option help missing=''
  commands=$("$real" --help | sed -n '/^[Ss][Uu][Bb]/,$s/^  \([a-z][a-z-]*\) .*/\1/p')
  equal "every command" "$commands submit" "$(offered '' | cut -f1 | tr '\n' ' ' | sed 's/ $//; s/ /\n/g; s/\nsubmit/ submit/')"
  equal "there are some" yes "$( (($(wc -w <<<"$commands") > 10)) && echo yes)"
  for command in $commands; do
    help=" $(offered "$command" - | first_words)"
    # As CLI11 lays them out: two blanks, the short name, the long name.
    for option in $("$real" "$command" --help | sed -nE 's/^  ((-[A-Za-z]),? *)?(--[a-z-]+)?.*/\2 \3/p'); do
      [[ $help == *" $option "* ]] || missing+=" $command:$option"
    done
  done
  equal "every option of every command" "" "$missing"
  for option in $("$onecopy" --help | sed -nE 's/^  (-[a-z]|--[a-z-]+)[ ,].*/\1/p'); do
    [[ " $(offered - | first_words)" == *" $option "* ]] || missing+=" $option"
  done
  equal "every option of the launcher" "" "$missing"
}

test_values() {
  equal "a choice" "auto " "$(offered generate --pipeline a | grep '^a' | first_words)"
  equal "choices in braces" "shared mpi " "$(offered -n 2 generate --collectives '' | first_words)"
  equal "choices on lines of their own" "numa none " "$(offered --bind '' | first_words)"
  equal "files" ":files " "$(offered generate -m '' | first_words)"
  equal "a number has none" "" "$(offered generate -n '')"
  equal "what begins alike" "perplexity plan " "$(offered --threads 2 p | sort | first_words)"
  equal "options of submit" "--partition " "$(offered submit --nodes 2 --par | first_words)"
  equal "and of the command it submits" "--json " "$(offered submit --nodes 2 bench --js | first_words)"
}

test_shells() {
  local line
  # shellcheck disable=SC2016  # for the other shell to expand
  line=$(PATH=$tree/launch:$PATH bash -c 'compopt() { echo "compopt $*"; }; source "$1"
    COMP_WORDS=(onecopy -n 2 perp) COMP_CWORD=3; _onecopy; echo "${COMPREPLY[*]}"
    COMP_WORDS=(onecopy generate -m "") COMP_CWORD=3; _onecopy' - "$tree/launch/complete/onecopy.bash")
  equal "bash" $'perplexity\ncompopt -o default' "$line"
  if command -v zsh >/dev/null; then
    line=$(PATH=$tree/launch:$PATH zsh -fc 'widget() { source $1 }; _files() { echo files }; _describe() { echo ${(P)3} }
      words=(onecopy plan --js) CURRENT=3; widget $1; words=(onecopy bench -m "") CURRENT=4; widget $1' - "$tree/launch/complete/_onecopy")
    contains "zsh" "--json:" "$line"
    contains "zsh: files" $'\nfiles' "$line"
  else
    echo "SKIPPED zsh: not installed"
  fi
  if command -v fish >/dev/null; then
    # shellcheck disable=SC2016
    line=$(HOME=$work PATH=$tree/launch:$PATH fish -c 'source $argv[1]; complete -C "onecopy tok"' "$tree/launch/complete/onecopy.fish")
    equal "fish" $'tokenize\ttoken ids of a text' "$line"
  else
    echo "SKIPPED fish: not installed"
  fi
}

run_tests words values shells "${1:-}"
