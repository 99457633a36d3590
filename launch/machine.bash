# shellcheck shell=bash
# What of this machine a job may use: NUMA nodes, cores, sockets. Part of launch/onecopy, with which it shares variables.
# shellcheck disable=SC2034,SC2154

# expand_ids "0-3,8": one number a line.
expand_ids() {
  local item items id
  IFS=, read -r -a items <<<"$1"
  for item in "${items[@]}"; do
    for ((id = ${item%-*}; id <= ${item#*-}; id++)); do echo "$id"; done
  done
}

# first_line FILE VARIABLE: false where the file cannot be read; no process is started.
first_line() {
  [[ -r $1 ]] && { IFS= read -r "$2" <"$1" || [[ -n ${!2} ]]; }
}

# read_machine [ROOT]: sets nodes (ids of the nodes with memory and CPUs that this process may use), cores (how many
# cores there are to use: CPUs of nodes without memory work for the nearest node with it) and package_of (socket of each
# node). The same rule as FindPlaces of the binary.
# shellcheck disable=SC2120  # tests give a ROOT
read_machine() {
  local root=${1:-} key value cpus_allowed='' mems_allowed='' online='' list='' total='' siblings='' id node word
  local -A cpu_ok=() mem_ok=() core_seen=() has_memory=() cpu_of=()
  local -a found=() ids=()
  nodes=() cores=0
  declare -gA package_of=()
  while IFS=$':\t ' read -r key value; do
    case $key in
      Cpus_allowed_list) cpus_allowed=$value ;;
      Mems_allowed_list) mems_allowed=$value ;;
    esac
  done <"$root/proc/self/status"
  first_line "$root/sys/devices/system/cpu/online" online || online=$cpus_allowed
  for id in $(expand_ids "${cpus_allowed:-$online}"); do cpu_ok[$id]=allowed; done
  for id in $(expand_ids "$online"); do [[ -z ${cpu_ok[$id]:-} ]] || cpu_ok[$id]=usable; done
  for node in "$root"/sys/devices/system/node/node[0-9]*; do  # unmatched, it names no folder
    if [[ -d $node ]]; then list+=,${node##*/node}; fi
  done
  list=${list#,}
  first_line "$root/sys/devices/system/node/online" list || true
  if [[ -z $list ]]; then  # a kernel without NUMA: everything is node 0
    nodes=(0)
    cores=$(grep -c usable <<<"$(printf '%s\n' "${cpu_ok[@]}")") || true
    return
  fi
  for id in $(expand_ids "${mems_allowed:-$list}"); do mem_ok[$id]=1; done
  mapfile -t ids < <(expand_ids "$list")
  for node in "${ids[@]}"; do
    total=0 found=()
    while read -r -a word; do
      if [[ ${word[2]:-} == MemTotal: ]]; then total=${word[3]}; fi
    done <"$root/sys/devices/system/node/node$node/meminfo"
    list=''
    if [[ $total != 0 && -n ${mem_ok[$node]:-} ]]; then has_memory[$node]=1; fi
    first_line "$root/sys/devices/system/node/node$node/cpulist" list || continue
    for id in $(expand_ids "$list"); do
      if [[ ${cpu_ok[$id]:-} == usable ]]; then found+=("$id"); fi
    done
    if ((${#found[@]} == 0)); then continue; fi
    cpu_of[$node]=${found[0]}
    if [[ -n ${has_memory[$node]:-} ]]; then nodes+=("$node"); fi
    for id in "${found[@]}"; do  # a core is named by its list of SMT siblings
      siblings=$id
      first_line "$root/sys/devices/system/cpu/cpu$id/topology/thread_siblings_list" siblings || siblings=$id
      core_seen[$siblings]=1
    done
  done
  cores=${#core_seen[@]}
  if ((${#nodes[@]} == 0)); then find_nearest_memory "$root" "${ids[@]}"; fi
  for node in "${nodes[@]}"; do
    key=$node
    if [[ -n ${cpu_of[$node]:-} ]]; then
      first_line "$root/sys/devices/system/cpu/cpu${cpu_of[$node]}/topology/physical_package_id" key || key=$node
    fi
    package_of[$node]=$key
  done
}

# find_nearest_memory ROOT IDS...: sets nodes where CPUs and memory are on different nodes altogether: the memory nearest
# to each node with CPUs. IDS: all nodes, in the order of the distances. Uses read_machine's has_memory and cpu_of.
find_nearest_memory() {
  local root=$1 node best i
  local -a distance=()
  local -A chosen=()
  shift
  for node in "${!cpu_of[@]}"; do
    read -r -a distance <"$root/sys/devices/system/node/node$node/distance" || continue
    best=''
    for ((i = 0; i < $#; i++)); do
      if [[ -n ${has_memory[${*:i+1:1}]:-} ]] && { [[ -z $best ]] || ((distance[i] < distance[best])); }; then best=$i; fi
    done
    [[ -z $best ]] || chosen[${*:best+1:1}]=1
  done
  mapfile -t nodes < <(printf '%s\n' "${!chosen[@]}" | grep . | sort -n)
}

# choose_nodes: sets num_places, the number of ranks this host is for, and restricts nodes to those asked for.
choose_nodes() {
  local node known=" ${nodes[*]} "
  local -A packages=()
  if [[ -n $only_nodes ]]; then
    mapfile -t nodes < <(expand_ids "$only_nodes" | sort -nu)
    for node in "${nodes[@]}"; do
      [[ $known == *" $node "* ]] ||
        usage_error "--nodes $only_nodes: node $node has no CPUs or no memory that this process may use; there are:$known"
    done
  fi
  num_places=${#nodes[@]}
  if [[ $ranks_per == socket ]]; then
    for node in "${nodes[@]}"; do packages[${package_of[$node]:-0}]=1; done
    num_places=${#packages[@]}
  fi
}
