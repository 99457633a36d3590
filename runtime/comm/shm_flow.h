// How the pieces of a long message flow through the ranks of a host: while piece k is summed, piece k + 1 is published
// and piece k - 1 is taken, so a piece costs one round of flags however many stages it goes through, and a wait mostly
// finds that all have come.
//
// Piece k is published, goes through `n_stages` stages, each of which reads what the ranks left in the stage before,
// and is taken. All ranks run the same flow; a stage in which a rank has nothing to do is an empty call.
#pragma once

#include "runtime/base/check.h"
#include "runtime/comm/shm_sync.h"

namespace onecopy::comm {

// bytes: of this rank's message, where it is likely to send one like it next; else 0.
// put(piece, buffer) writes this rank's part; stage(s, piece, message) and take(piece, message) read and write by
// ShmSync::Buffer(rank, message). A rank may write to the buffer of its own message what no other rank reads there.
template <typename Put, typename Stage, typename Take>
void Flow(ShmSync* sync, size_t n_pieces, size_t n_stages, size_t bytes, Put put, Stage stage, Take take) {
  // A piece is taken n_stages + 1 messages behind the newest.
  ONECOPY_CHECK(n_stages + 1 <= kMaxLag);
  if (n_pieces == 0) return;
  // One piece is taken before anything else is published.
  const auto lag = static_cast<uint32_t>(n_pieces == 1 ? 0 : n_stages + 1);
  put(size_t{0}, sync->OpenBuffer());
  sync->Publish(lag);
  const uint32_t first = sync->message();
  // 28 KiB between two ranks: 4.0 us against 4.3.
  if (n_pieces == 1) sync->ClaimNextBufferMeanwhile(bytes);
  const auto message_of = [&](size_t piece) { return first + static_cast<uint32_t>(piece); };
  for (size_t turn = 0; turn < n_pieces + n_stages; ++turn) {
    sync->AwaitAll();
    for (size_t s = 0; s < n_stages && s <= turn; ++s)
      if (turn - s < n_pieces) stage(s, turn - s, message_of(turn - s));
    if (turn + 1 < n_pieces) {
      put(turn + 1, sync->OpenBuffer());
      sync->Publish(lag);
    } else if (turn + 1 < n_pieces + n_stages) {
      sync->Arrive();
    }
    // After the others were let on: this is what overlaps.
    if (turn >= n_stages) take(turn - n_stages, message_of(turn - n_stages));
  }
}

}  // namespace onecopy::comm
