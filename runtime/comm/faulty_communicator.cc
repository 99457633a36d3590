// Each collective: count, do what the script says for this count, call through, then perhaps spoil the
// result.
#include "runtime/comm/faulty_communicator.h"

#include <signal.h>

#include <chrono>
#include <thread>
#include <utility>

namespace onecopy::comm {
namespace {

class FaultyCommunicator : public Communicator {
 public:
  FaultyCommunicator(std::unique_ptr<Communicator> inner, std::vector<Fault> script)
      : inner_(std::move(inner)), script_(std::move(script)) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  int ranks_on_host() const override { return inner_->ranks_on_host(); }
  int rank_on_host() const override { return inner_->rank_on_host(); }
  std::vector<std::vector<int>> hosts() const override { return inner_->hosts(); }

  void Barrier() override {
    Before();
    inner_->Barrier();
  }
  void HostBarrier() override {
    Before();
    inner_->HostBarrier();
  }
  void AllReduceSum(std::span<float> x) override {
    const Fault* flip = Before();
    inner_->AllReduceSum(x);
    Flip(flip, x.data(), x.size_bytes());
  }
  void AllGatherColumns(float* x, size_t n_rows, std::span<const uint32_t> bounds, bool wanted) override {
    const Fault* flip = Before();
    inner_->AllGatherColumns(x, n_rows, bounds, wanted);
    Flip(flip, x, n_rows * bounds.back() * sizeof(float));
  }
  void Broadcast(std::vector<uint8_t>* bytes, int root) override {
    const Fault* flip = Before();
    inner_->Broadcast(bytes, root);
    Flip(flip, bytes->data(), bytes->size());
  }
  void AllReduceRows(std::span<double> terms, size_t cols, const RowSink& sink) override {
    const Fault* flip = Before();
    inner_->AllReduceRows(terms, cols, [&](size_t row, const double* sums) {
      if (flip == nullptr || row != 0) return sink(row, sums);
      std::vector<double> spoilt(sums, sums + cols);
      Flip(flip, spoilt.data(), cols * sizeof(double));
      sink(row, spoilt.data());
    });
  }
  void Send(std::span<const uint8_t> bytes, int to) override {
    Before();
    inner_->Send(bytes, to);
  }
  void Receive(std::span<uint8_t> bytes, int from) override {
    const Fault* flip = Before();
    inner_->Receive(bytes, from);
    Flip(flip, bytes.data(), bytes.size());
  }
  std::unique_ptr<Communicator> Split(int color) override { return inner_->Split(color); }
  void SetTeam(Team team) override { inner_->SetTeam(std::move(team)); }
  void UseTable(const CollectivesTable& table) override { inner_->UseTable(table); }
  const CollectivesTable& table() const override { return inner_->table(); }
  int sockets() const override { return inner_->sockets(); }
  std::vector<std::vector<uint8_t>> AllGatherBytes(const std::vector<uint8_t>& bytes) override {
    Before();
    return inner_->AllGatherBytes(bytes);
  }
  void Agree(const char* stage, const Error* error) override {
    Before();
    inner_->Agree(stage, error);
  }

  SharedBuffer AllocateShared(size_t bytes_per_rank) override {
    return inner_->AllocateShared(bytes_per_rank);
  }
  std::vector<std::span<const uint8_t>> OwnSharedMemory() const override { return inner_->OwnSharedMemory(); }
  void SetStage(const char* stage) override { inner_->SetStage(stage); }
  void Abandon(const std::string& reason) noexcept override { inner_->Abandon(reason); }
  Stats stats() const override { return inner_->stats(); }

 private:
  // Returns the fault that spoils this call's result, if any.
  const Fault* Before() {
    const uint64_t call = calls_++;
    const Fault* flip = nullptr;
    for (const Fault& fault : script_) {
      if (fault.call != call) continue;
      switch (fault.kind) {
        case Fault::Kind::kDelay:
          std::this_thread::sleep_for(std::chrono::duration<double>(fault.seconds));
          break;
        case Fault::Kind::kVanish:
          throw RankVanished();
        case Fault::Kind::kKill:
          raise(SIGKILL);
          break;
        case Fault::Kind::kThrow:
          Fail(ErrorCode::kInternal, "rank {} fails at call {} as its script says", rank(), call);
        case Fault::Kind::kFlipBit:
          flip = &fault;
      }
    }
    return flip;
  }

  static void Flip(const Fault* fault, void* data, size_t n_bytes) {
    if (fault == nullptr || n_bytes == 0) return;
    const uint64_t bit = fault->bit % (n_bytes * 8);
    static_cast<uint8_t*>(data)[bit / 8] ^= static_cast<uint8_t>(1u << (bit % 8));
  }

  std::unique_ptr<Communicator> inner_;
  const std::vector<Fault> script_;
  uint64_t calls_ = 0;
};

}  // namespace

std::unique_ptr<Communicator> MakeFaultyCommunicator(std::unique_ptr<Communicator> inner,
                                                     std::vector<Fault> script) {
  return std::make_unique<FaultyCommunicator>(std::move(inner), std::move(script));
}

}  // namespace onecopy::comm
