# shellcheck shell=bash
# shellcheck disable=SC2154  # binary and here are of launch/onecopy
# launch/onecopy --complete WORDS...: what may stand in place of the last word, which may be empty or begun. Sourced by
# launch/onecopy for the shells' completions (complete/). Commands and options are those that the helps of the moment name.
#   CANDIDATE<TAB>DESCRIPTION   a line each
#   :files                      names of files

# options_of: from a help text, "NAMES<TAB>VALUE<TAB>DESCRIPTION" a line for each option; NAMES with a blank between.
options_of() {
  local line names value about pending=''
  local -r option='^  (-[A-Za-z]), *(--[a-z].*)$'
  while IFS= read -r line || [[ -n $line ]]; do
    if [[ -n $pending ]]; then  # its description may stand on the next line, far to the right
      about=''
      if [[ $line == "          "* ]]; then about=${line#"${line%%[! ]*}"}; fi
      printf '%s\t%s\n' "$pending" "$about"
      pending=''
    fi
    if [[ $line =~ $option ]]; then line="  ${BASH_REMATCH[1]},${BASH_REMATCH[2]}"; fi
    [[ $line == "  -"* ]] || continue
    line=${line#  }
    about=''
    if [[ $line == *"  "* ]]; then
      about=${line#*  } line=${line%%  *}
      about=${about#"${about%%[! ]*}"}
    fi
    names='' value=''
    line=${line%% Excludes:*}
    for word in ${line//,/ }; do
      if [[ $word == -*[a-z]* ]]; then names+=" $word"; elif [[ -z $value ]]; then value=$word; fi
    done
    # Values with commas between: {a,b}.
    if [[ $line =~ \{[^}]*\} ]]; then value=${BASH_REMATCH[0]}; fi
    pending="${names# }"$'\t'"$value"
    if [[ -n $about ]]; then
      printf '%s\t%s\n' "$pending" "$about"
      pending=''
    fi
  done
  [[ -z $pending ]] || printf '%s\t\n' "$pending"
}

# commands_of: "NAME<TAB>DESCRIPTION" a line for each command of the program's help.
commands_of() {
  local line listing=''
  while IFS= read -r line; do
    if [[ ${line,,} == subcommands:* ]]; then listing=yes; fi
    if [[ -n $listing && $line =~ ^\ \ ([a-z][a-z-]*)\ +(.*)$ ]]; then
      printf '%s\t%s\n' "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}"
    fi
  done
  printf 'submit\tA job of a Slurm cluster\n'
}

# value_of OPTION TABLE: sets value to what the table says the option takes; fails where it is none of the table's.
value_of() {
  local names about
  while IFS=$'\t' read -r names value about; do
    if [[ $value != *[!\ ]* ]]; then value=''; fi
    if [[ " $names " == *" $1 "* ]]; then return 0; fi
  done <<<"${2//$'\t\t'/$'\t \t'}"  # read would take two tabs as one
  return 1
}

# complete_value OPTION TABLE: candidates of its value, which a help writes {a,b}, a|b, or in a line for each.
complete_value() {
  local names value about word listed=''
  while IFS=$'\t' read -r names value about; do
    [[ " $names " == *" $1 "* ]] || continue
    case $value in
      \{*\} | *"|"* | [a-z]*)
        value=${value//[\{\},|]/ }
        for word in $value; do
          listed=yes
          if [[ $word == [a-z0-9]* ]]; then printf '%s\t%s\n' "$word" "$about"; fi
        done
        ;;
      INT* | UINT* | FLOAT* | RANKS | T | N | S | C | LIST | TOKENS) listed=yes ;;
    esac
  done <<<"$2"
  [[ -n $listed ]] || echo :files
}

# complete_words WORDS...
complete_words() {
  local command='' table previous='' word names value about
  local current=${*: -1}
  table=$(usage | options_of)
  while (($# > 1)); do
    word=$1
    shift
    if [[ -n $previous ]]; then
      previous=''
    elif [[ $word == -* ]]; then
      if [[ $word != *=* ]] && value_of "$word" "$table" && [[ -n $value ]]; then previous=$word; fi
    elif [[ -z $command ]]; then
      command=$word
      if [[ $command == submit ]]; then
        table=$(submit_usage | options_of)$'\n'$table
        command=''
      else
        table=$("$binary" "$command" --help 2>/dev/null </dev/null | options_of)
      fi
    fi
  done
  if [[ -n $previous ]]; then
    complete_value "$previous" "$table"
  elif [[ $current == -* ]]; then
    while IFS=$'\t' read -r names value about; do
      for word in $names; do
        if [[ $word == "$current"* && $word != "$previous" ]]; then printf '%s\t%s\n' "$word" "$about"; fi
        previous=$word
      done
    done <<<"${table//$'\t\t'/$'\t \t'}"
  elif [[ -z $command ]]; then
    "$binary" --help 2>/dev/null </dev/null | commands_of | while IFS= read -r word; do
      if [[ $word == "$current"* ]]; then printf '%s\n' "$word"; fi
    done
  fi
}
