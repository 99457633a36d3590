# shellcheck shell=bash
# Completion of onecopy for bash: source this file, or let bash-completion find it. launch/complete.bash knows the words.
_onecopy() {
  local word current=${COMP_WORDS[COMP_CWORD]}
  COMPREPLY=()
  while IFS=$'\t' read -r word _; do
    if [[ $word == :files ]]; then
      compopt -o default  # bash's own, where there is no other reply
      return
    fi
    if [[ $word == "$current"* ]]; then COMPREPLY+=("$word"); fi
  done < <("${COMP_WORDS[0]}" --complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _onecopy onecopy
