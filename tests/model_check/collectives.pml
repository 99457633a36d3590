/* The protocol of runtime/comm/shm_sync and shm_flow: phases, a ring of message buffers without barriers behind
 * messages, and sleepers that nobody forgets. Checked by spin over every interleaving of RANKS ranks and every script of
 * OPERATIONS operations:
 *   - what a rank reads in a buffer is the message that it expects: none lost, none overwritten too early, no epoch
 *     taken for an older one (assertions; phase numbers wrap here at 16, as in memory at 2^32);
 *   - every rank gets to its end: no deadlock, no lost wake-up (invalid end states; sleeps have no time-out here).
 * Memory is sequentially consistent here; that the code's atomics are is for ThreadSanitizer and the tests.
 * BROKEN_...: a protocol with one step wrong, in which spin must find a fault. */

#ifndef RANKS
#define RANKS 2
#endif
#ifndef OPERATIONS
#define OPERATIONS 2
#endif
#ifndef PIECES
#define PIECES 3
#endif
/* kBuffers is STAGES + 3 at least: see ShmSync. */
#define STAGES 1
#ifdef BROKEN_LAG
#define LAG 0
#else
#define LAG (STAGES + 1)
#endif
/* More than fit the ring, where it can be afforded. */
#ifndef GATHERS
#define GATHERS 4
#endif
#ifdef BROKEN_RING
#define BUFFERS 3
#else
#define BUFFERS 4
#endif

#define WRAP 16
#define MASK(x) ((x) & (WRAP - 1))
#ifdef BROKEN_EPOCH
#define REACHED(at, phase) (((at) & 1) == ((phase) & 1))
#else
#define REACHED(at, phase) (MASK((at) - (phase)) < WRAP / 2)
#endif

#define FLOW 0
#define BROADCAST 1
#define BARRIER 2
#define GATHER 3
#define BEING_WRITTEN 255
#define NOBODY 255
#define GATE RANKS

byte arrived[RANKS];
byte arrived_sleepers[RANKS];
byte gate;
byte gate_sleepers;
byte asleep_on[RANKS] = NOBODY;  /* a rank's number: on its phase; GATE */
byte buffer[RANKS * BUFFERS];
byte script[OPERATIONS], roots[OPERATIONS];

#define BUFFER_OF(rank, m) buffer[(rank) * BUFFERS + ((m) % BUFFERS)]

inline WakeAll(on) {
  atomic {
    w = 0;
    do
    :: w < RANKS -> if :: asleep_on[w] == on -> asleep_on[w] = NOBODY :: else fi; w++
    :: else -> break
    od
  }
}

/* found: whether all have entered phase p. One peer at a time, as memory is read. */
inline LookForAll(found, p) {
  peer = 0;
  do
  :: atomic { peer < RANKS && REACHED(arrived[peer], p) -> peer++ }
  :: else -> break
  od;
  atomic { found = (peer == RANKS); peer = 0 }
}

inline Arrive() {
  phase = MASK(phase + 1);
#ifdef BROKEN_WAKE
  /* Looks for sleepers first and stores afterwards. */
  sleepers = gate_sleepers;
  arrived[me] = phase;
#else
  arrived[me] = phase;
  sleepers = gate_sleepers;
#endif
  if
  :: arrived_sleepers[me] > 0 -> WakeAll(me)
  :: else
  fi;
  if
  :: sleepers > 0 ->
     LookForAll(all, phase);
     if
     :: all -> gate = MASK(gate + 1); WakeAll(GATE)
     :: else
     fi
  :: else
  fi
}

inline AwaitAll(p) {
  do
  :: LookForAll(all, p);
     if :: all -> break :: else fi;
     gate_sleepers++;
     seen = gate;
     LookForAll(all, p);
     if
     :: all -> gate_sleepers--; break
     :: else
     fi;
     /* The kernel compares and puts to sleep in one step. */
     atomic {
       if
       :: gate == seen -> asleep_on[me] = GATE
       :: else
       fi
     }
     asleep_on[me] == NOBODY;
     gate_sleepers--
  od
}

inline AwaitRank(whom) {
  do
  :: REACHED(arrived[whom], phase) -> break
  :: else ->
     arrived_sleepers[whom]++;
     seen = arrived[whom];
     if
     :: REACHED(arrived[whom], phase) -> arrived_sleepers[whom]--; break
     :: else
     fi;
     atomic {
       if
       :: arrived[whom] == seen -> asleep_on[me] = whom
       :: else
       fi
     }
     asleep_on[me] == NOBODY;
     arrived_sleepers[whom]--
  od
}

/* Of Publish: what this rank knows itself. */
inline Count(l) {
  atomic {
    message++;
    lag[message % BUFFERS] = l;
    do
    :: message - unread > lag[unread % BUFFERS] -> free_in[unread % BUFFERS] = phase; unread++
    :: else -> break
    od
  }
}

/* OpenBuffer, the writing, Publish. */
inline PublishMessage(l) {
  AwaitAll(free_in[(message + 1) % BUFFERS]);
  BUFFER_OF(me, message + 1) = BEING_WRITTEN;
#ifdef BROKEN_ORDER
  Arrive();
  BUFFER_OF(me, message + 1) = message + 1;
#else
  BUFFER_OF(me, message + 1) = message + 1;
  Arrive();
#endif
  Count(l)
}

inline ReadAll(m) {
  peer = 0;
  do
  :: atomic { peer < RANKS -> assert(BUFFER_OF(peer, m) == m); peer++ }
  :: atomic { else -> peer = 0; break }
  od
}

inline Flow() {
  PublishMessage(LAG);
  first = message;
  turn = 0;
  do
  :: turn < PIECES + STAGES ->
     AwaitAll(phase);
     if :: turn < PIECES -> ReadAll(first + turn) :: else fi;  /* stage 0 */
     if
     :: turn + 1 < PIECES -> PublishMessage(LAG)
     :: turn + 1 >= PIECES && turn + 1 < PIECES + STAGES -> Arrive()
     :: else
     fi;
     if :: turn >= STAGES -> ReadAll(first + turn - STAGES) :: else fi;  /* take */
     turn++
  :: else -> break
  od;
  atomic { turn = 0; first = 0; seen = 0; sleepers = 0; all = false }
}

inline Broadcast(root) {
  if
  :: me == root -> PublishMessage(0)
  :: else ->
     Arrive();
     Count(0);
     AwaitRank(root);
     assert(BUFFER_OF(root, message) == message)
  fi
}

/* Gathers whose results rank 0 alone wants: the others go on at once. */
inline Gather() {
  turn = 0;
  do
  :: turn < GATHERS ->
     PublishMessage(0);
     if
     :: me == 0 -> AwaitAll(phase); ReadAll(message)
     :: else
     fi;
     turn++
  :: else -> break
  od;
  atomic { turn = 0; seen = 0; sleepers = 0; all = false }
}

proctype Rank(byte me) {
  byte phase = 0, message = 0, unread = 1, first, turn, peer, seen, sleepers, w, op = 0;
  byte lag[BUFFERS], free_in[BUFFERS];
  bool all;
  do
  :: op < OPERATIONS ->
     if
     :: script[op] == FLOW -> Flow()
     :: script[op] == BROADCAST -> Broadcast(roots[op])
     :: script[op] == BARRIER -> Arrive(); AwaitAll(phase)
     :: script[op] == GATHER -> Gather()
     fi;
     op++
  :: else -> break
  od
}

init {
  byte i = 0;
  atomic {
    do
    :: i < OPERATIONS ->
       if
       :: script[i] = FLOW
       :: script[i] = BROADCAST; roots[i] = 0
       :: script[i] = BROADCAST; roots[i] = RANKS - 1
       :: script[i] = BARRIER
       :: script[i] = GATHER
       fi;
       i++
    :: else -> break
    od;
    i = 0;
    do
    :: i < RANKS -> run Rank(i); i++
    :: else -> break
    od
  }
}
