// Open MPI 4.1 aligns the parts of a window to 8 bytes, even those of alloc_shared_noncontig, so neighbours
// share a page, which lies on the node of whoever touches it first. One page more per rank and rounding up
// cures it.
//
// No name is left behind: Open MPI removes /dev/shm/osc_sm.* as soon as all ranks have mapped it, before
// MPI_Win_allocate_shared returns (tests/mpi checks this), so the memory goes with the last process however
// it ends.
#include "runtime/comm/mpi_window.h"

#include <mpi.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "runtime/base/check.h"

namespace onecopy::comm {
namespace {

constexpr size_t kWindowPage = 4096;

uint8_t* AlignToPage(void* at) {
  const auto address = reinterpret_cast<uintptr_t>(at);
  return static_cast<uint8_t*>(at) + (RoundUp(address, kWindowPage) - address);
}

}  // namespace

struct MpiWindow::Handle {
  MPI_Win win = MPI_WIN_NULL;
};

MpiWindow::MpiWindow(MpiHandle host_comm, size_t bytes_per_rank)
    : handle_(std::make_unique<Handle>()), bytes_per_rank_(bytes_per_rank) {
  const MPI_Comm comm = MPI_Comm_f2c(host_comm);
  int ranks;
  MPI_Comm_size(comm, &ranks);
  MPI_Info info;
  CheckMpi(MPI_Info_create(&info), "MPI_Info_create");
  MPI_Info_set(info, "alloc_shared_noncontig", "true");
  void* mine;
  const auto bytes = static_cast<MPI_Aint>(RoundUp(bytes_per_rank, kWindowPage) + kWindowPage);
  const int result = MPI_Win_allocate_shared(bytes, 1, info, comm, &mine, &handle_->win);
  MPI_Info_free(&info);
  CheckMpi(result, "MPI_Win_allocate_shared");
  for (int r = 0; r < ranks; ++r) {
    MPI_Aint size;
    int unit;
    void* part;
    CheckMpi(MPI_Win_shared_query(handle_->win, r, &size, &unit, &part), "MPI_Win_shared_query");
    // Every process maps the window at a multiple of the page, so all round to the same byte of it.
    parts_.push_back(AlignToPage(part));
  }
  // One passive epoch over the window's life, in which the standard allows plain loads and stores.
  CheckMpi(MPI_Win_lock_all(MPI_MODE_NOCHECK, handle_->win), "MPI_Win_lock_all");
}

MpiWindow::~MpiWindow() {
  if (abandoned_) return;
  MPI_Win_unlock_all(handle_->win);
  MPI_Win_free(&handle_->win);
}

void RequireSharedMemory(int ranks, size_t bytes_per_rank) {
  constexpr const char* kDirectory = "/dev/shm";
  struct statvfs fs;
  if (statvfs(kDirectory, &fs) != 0) return;  // none here: Open MPI then uses its session directory
  const uint64_t available = uint64_t{fs.f_bavail} * fs.f_frsize;
  const uint64_t needed =
      static_cast<uint64_t>(ranks) * (RoundUp(bytes_per_rank, kWindowPage) + 2 * kWindowPage);
  if (needed <= available) return;
  Fail(ErrorCode::kNoMemory,
       "{} has {:.1f} MB free, but the {} ranks of this host need {:.1f} MB there to exchange activations: "
       "enlarge it "
       "(mount -o remount,size=…; docker run --shm-size; in Kubernetes an emptyDir of medium Memory), or "
       "remove what "
       "other programs left there",
       kDirectory, available * 1e-6, ranks, needed * 1e-6);
}

}  // namespace onecopy::comm
