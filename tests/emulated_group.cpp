#include "emulated_group.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <exception>
#include <memory>
#include <new>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#define VL4POSE_ADDRESS_SANITIZER
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define VL4POSE_ADDRESS_SANITIZER
#endif
#endif
#ifdef VL4POSE_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if !defined(__ELF__) || (!defined(__x86_64__) && !defined(__aarch64__))
#define VL4POSE_SWITCH_BY_UCONTEXT
#endif
#ifdef VL4POSE_SWITCH_BY_UCONTEXT
#include <ucontext.h>
#else
// Puts on the stack what a function has to preserve and the address to return to, and where that is
// in *from; goes on with what was put at *to. swapcontext asks the system for a signal mask each
// time, which takes ten times as long; longjmp to another stack is an error to _FORTIFY_SOURCE and
// to the address sanitizer.
extern "C" void vl4pose_switch_stack(void** from, void** to);
#ifdef __x86_64__
static constexpr std::size_t kWordsKept = 8, kAddressWord = 6;  // and one that aligns them
asm(R"(
.pushsection .text
.globl vl4pose_switch_stack
.hidden vl4pose_switch_stack
.type vl4pose_switch_stack, %function
vl4pose_switch_stack:
  push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15
  mov %rsp, (%rdi)
  mov (%rsi), %rsp
  pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp
  ret
.popsection
)");
#else
static constexpr std::size_t kWordsKept = 20, kAddressWord = 11;
asm(R"(
.pushsection .text
.globl vl4pose_switch_stack
.hidden vl4pose_switch_stack
.type vl4pose_switch_stack, %function
vl4pose_switch_stack:
  stp x19, x20, [sp, #-160]!; stp x21, x22, [sp, #16]; stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]; stp x27, x28, [sp, #64]; stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]; stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]; stp d14, d15, [sp, #144]
  mov x9, sp; str x9, [x0]
  ldr x9, [x1]; mov sp, x9
  ldp d14, d15, [sp, #144]; ldp d12, d13, [sp, #128]
  ldp d10, d11, [sp, #112]; ldp d8, d9, [sp, #96]
  ldp x29, x30, [sp, #80]; ldp x27, x28, [sp, #64]; ldp x25, x26, [sp, #48]
  ldp x23, x24, [sp, #32]; ldp x21, x22, [sp, #16]; ldp x19, x20, [sp], #160
  ret
.popsection
)");
#endif
#endif

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {
namespace {

using detail::Collective;
using detail::Step;

constexpr int kWarp = EmulatedWarp::kSize;
constexpr int kMaxThreads = 1024;
#ifdef VL4POSE_ADDRESS_SANITIZER
constexpr std::size_t kStackBytes = 256 << 10;
#else
constexpr std::size_t kStackBytes = 64 << 10;
#endif

constexpr std::byte kGarbage{0xcd};
constexpr auto kGuard = [] {  // no kernel writes this by accident
  std::array<std::byte, 1024> guard;
  guard.fill(std::byte{0xa7});
  return guard;
}();

// A stack, and where its owner left it for another.
struct Stack {
#ifdef VL4POSE_SWITCH_BY_UCONTEXT
  ucontext_t left_at;
#else
  void* left_at;
#endif
#ifdef VL4POSE_ADDRESS_SANITIZER
  void* kept_frames;  // which the sanitizer may have elsewhere
  const void* lowest;
  std::size_t size;
#endif
};

constexpr std::uint32_t bit(int i) { return std::uint32_t{1} << i; }

// One of the bits that are set. Some are likelier than others, but each is possible.
int one_of(std::uint32_t bits, std::uint64_t random) {
  const int first = static_cast<int>(random % 32);
  return (first + std::countr_zero(std::rotr(bits, first))) % 32;
}

bool is_same(const Step& a, const Step& b) {
  return a.collective == b.collective && a.lane == b.lane && a.place.line() == b.place.line() &&
         a.place.column() == b.place.column() &&
         (a.place.file_name() == b.place.file_name() ||
          std::string_view(a.place.file_name()) == b.place.file_name());
}

// Such as "score.h:120:9 (where)".
std::string name(const Step& step) {
  static constexpr std::array names{"Block::sync", "Warp::sync", "where",
                                    "of_lane",     "largest",    "largest of NaN"};
  const std::string_view path = step.place.file_name();
  std::string text(path.substr(path.rfind('/') + 1));
  text.append(":").append(std::to_string(step.place.line()));
  text.append(":").append(std::to_string(step.place.column()));
  text.append(" (").append(names[static_cast<std::size_t>(step.collective)]);
  if (step.collective == Collective::of_lane) text.append(" ").append(std::to_string(step.lane));
  return text + ")";
}

// What is said of lanes, or of warps, in the order in which it was said first; and bits for whom.
using Said = std::vector<std::pair<std::string, std::uint32_t>>;

void add(Said& said, const std::string& text, int of) {
  auto found = std::ranges::find(said, text, &Said::value_type::first);
  if (found == said.end()) found = said.insert(found, {text, 0});
  found->second |= bit(of);
}

// Such as "lanes 0-4, 7 at the end, lane 5 at ...".
std::string listed(const char* who, const Said& said, const char* colon, const char* comma) {
  std::string text;
  for (const auto& [what, bits] : said) {
    text.append(text.empty() ? "" : comma).append(who);
    const char* before = std::has_single_bit(bits) ? " " : "s ";
    for (int i = 0; i < 32; ++i) {
      if (!(bits & bit(i))) continue;
      text.append(before).append(std::to_string(i));
      before = ", ";
      const int first = i;
      while (i < 31 && bits & bit(i + 1)) ++i;
      if (i > first) text.append("-").append(std::to_string(i));
    }
    text.append(colon).append(what);
  }
  return text;
}

}  // namespace

// One thread of the system, with a stack for each thread of the blocks that it runs.
class Emulator {
 public:
  static Emulator& of_this_thread() {
    thread_local const auto emulator = std::make_unique<Emulator>();
    return *emulator;
  }

  Emulator() {
    void* const memory = mmap(nullptr, kMaxThreads * stride_, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    stacks_ = static_cast<std::byte*>(memory);
  }
  ~Emulator() {
#ifdef VL4POSE_ADDRESS_SANITIZER
    __asan_unpoison_memory_region(stacks_, kMaxThreads * stride_);
#endif
    munmap(stacks_, kMaxThreads * stride_);
  }

  void run(std::int64_t num_blocks, int num_threads, std::size_t shared_bytes, std::uint64_t seed,
           const detail::Body& body) {
    if (num_threads <= 0 || num_threads > kMaxThreads || num_threads % kWarp != 0) {
      throw std::invalid_argument("num_threads must be a multiple of 32 up to 1024, got " +
                                  std::to_string(num_threads));
    }
    for (; num_prepared_ < num_threads; ++num_prepared_) prepare(num_prepared_);
    constexpr std::size_t kAligned = 16;  // and to no more than that
    memory_.resize(std::max(memory_.size(), shared_bytes + 2 * kGuard.size() + 4 * kAligned));
    std::byte* const lowest = memory_.data() + kGuard.size();
    block_.shared_ =
        lowest + 3 * kAligned - reinterpret_cast<std::uintptr_t>(lowest) % (2 * kAligned);
    block_.emulator_ = this;
    block_.num_blocks_ = num_blocks;
    block_.num_threads_ = num_threads;
    body_ = body;
    random_state_ = seed;
    current_warp_ = 0;
    for (block_.index_ = 0; block_.index_ < num_blocks; ++block_.index_) run_block(shared_bytes);
  }

  std::uint64_t take(int thread, const Step& step) {
    Thread& self = threads_[thread];
    const int warp = thread / kWarp;
    self.step = step;
    if (step.collective == Collective::block_sync) {
      if (++num_waiting_ == block_.num_threads() && is_complete(0, num_waiting_)) {
        num_waiting_ = 0;
        for (int i = 0; i < block_.num_warps(); ++i) let_run(i);
      }
    } else if (++warps_[warp].num_waiting == kWarp && is_complete(warp * kWarp, kWarp)) {
      warps_[warp].num_waiting = 0;
      warps_[warp].value = value_of(warp * kWarp);
      let_run(warp);
    }
    Stack& to = next();
    if (&to != &self.stack) go(self.stack, to);
    return warps_[warp].value;
  }

 private:
  struct Thread {
    Stack stack;
    bool has_ended;
    Step step;  // at which it waits, unless it can run or has ended
  };
  struct Warp {
    std::uint32_t can_run;  // lanes that neither wait nor have ended
    int num_waiting;        // at collectives of the warp
    std::uint64_t value;    // of the last one that all have taken
  };

  void run_block(std::size_t shared_bytes) {
    std::byte* const end = block_.shared_ + shared_bytes;
    std::ranges::copy(kGuard, block_.shared_ - kGuard.size());
    std::fill(block_.shared_, end, kGarbage);
    std::ranges::copy(kGuard, end);
    for (int i = 0; i < block_.num_threads(); ++i) threads_[i].has_ended = false;
    for (int i = 0; i < block_.num_warps(); ++i) {
      warps_[i].num_waiting = 0;
      let_run(i);
    }
    num_waiting_ = num_ended_ = 0;
    // A warp that runs ahead shows other mistakes than warps that go side by side: in this block
    // another one takes over after 1, 16, 256 or 4096 steps of a thread, on average.
    rarely_ = (std::uint64_t{1} << (random() % 4 * 4)) - 1;
    go(caller_, next());

    const std::string block = "block " + std::to_string(block_.index());
    if (num_ended_ < block_.num_threads()) {
      can_run_ = 0;
      num_prepared_ = 0;  // for the threads are anywhere in the body
      if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
      throw std::logic_error(block + " cannot go on: " + who_is_where());
    }
    const auto check = [&block](const std::byte* guard, const char* where) {
      if (std::memcmp(guard, kGuard.data(), kGuard.size()) == 0) return;
      throw std::logic_error(block + " wrote " + where + " its shared memory");
    };
    check(block_.shared_ - kGuard.size(), "before");
    check(end, "behind");
  }

  // As if run_thread() had gone elsewhere before its first statement.
  void prepare(int thread) {
    // A page below each stack ends the process when the body takes more than the stack has.
    std::byte* const memory = stacks_ + thread * stride_ + page_;
    if (mprotect(memory - page_, page_, PROT_NONE) != 0) throw std::bad_alloc();
    Stack& stack = threads_[thread].stack;
#ifdef VL4POSE_ADDRESS_SANITIZER
    __asan_unpoison_memory_region(memory, kStackBytes);  // where forgotten frames are
    stack.lowest = memory;
    stack.size = kStackBytes;
#endif
#ifdef VL4POSE_SWITCH_BY_UCONTEXT
    getcontext(&stack.left_at);
    stack.left_at.uc_stack.ss_sp = memory;
    stack.left_at.uc_stack.ss_size = kStackBytes;
    makecontext(&stack.left_at, run_thread, 0);
#else
    std::array<std::uintptr_t, kWordsKept> words{};
    words[kAddressWord] = reinterpret_cast<std::uintptr_t>(run_thread);
    stack.left_at = memory + kStackBytes - sizeof words;
    std::memcpy(stack.left_at, words.data(), sizeof words);
#endif
  }

  static void run_thread() {
    Emulator& emulator = of_this_thread();
    const int index = emulator.current_;
    Thread& thread = emulator.threads_[index];
#ifdef VL4POSE_ADDRESS_SANITIZER
    __sanitizer_finish_switch_fiber(nullptr, &emulator.left_->lowest, &emulator.left_->size);
#endif
    for (;;) {
      try {
        EmulatedBlock block = emulator.block_;
        block.thread_ = index;
        emulator.body_.call(emulator.body_.function, block);
        thread.has_ended = true;
        ++emulator.num_ended_;
      } catch (...) {
        emulator.error_ = std::current_exception();
      }
      emulator.go(thread.stack, emulator.error_ ? emulator.caller_ : emulator.next());
    }
  }

  // Returns when somebody goes to `from`.
  void go(Stack& from, Stack& to) {
#ifdef VL4POSE_ADDRESS_SANITIZER
    left_ = &from;
    __sanitizer_start_switch_fiber(&from.kept_frames, to.lowest, to.size);
#endif
#ifdef VL4POSE_SWITCH_BY_UCONTEXT
    swapcontext(&from.left_at, &to.left_at);
#else
    vl4pose_switch_stack(&from.left_at, &to.left_at);
#endif
#ifdef VL4POSE_ADDRESS_SANITIZER
    // Says which stack was left for this one; nothing else does of the caller's.
    __sanitizer_finish_switch_fiber(from.kept_frames, &left_->lowest, &left_->size);
#endif
  }

  // Chooses who runs: run_blocks when nobody else can.
  Stack& next() {
    if (can_run_ == 0) return caller_;
    const std::uint64_t draw = random();
    if (!(can_run_ & bit(current_warp_)) || ((draw >> 10) & rarely_) == 0) {
      current_warp_ = one_of(can_run_, draw >> 5);
    }
    Warp& warp = warps_[current_warp_];
    const int lane = one_of(warp.can_run, draw);
    warp.can_run &= ~bit(lane);
    if (warp.can_run == 0) can_run_ &= ~bit(current_warp_);
    current_ = current_warp_ * kWarp + lane;
    return threads_[current_].stack;
  }

  void let_run(int warp) {
    warps_[warp].can_run = ~std::uint32_t{0};
    can_run_ |= bit(warp);
  }

  // Whether the threads, all of which wait, may go on. Where they may not, the block comes to a
  // standstill in time, and is reported then: with everybody as far as possible.
  bool is_complete(int first, int num_threads) const {
    const Step& step = threads_[first].step;
    return step.lane >= 0 && step.lane < kWarp && step.collective != Collective::largest_of_nan &&
           std::ranges::all_of(
               std::span(&threads_[first], num_threads),
               [&step](const Thread& thread) { return is_same(thread.step, step); });
  }

  // Of the collective that the warp of this first thread waits at.
  std::uint64_t value_of(int first) const {
    const std::span<const Thread, kWarp> lanes(&threads_[first], kWarp);
    switch (lanes[0].step.collective) {
      case Collective::where: {
        std::uint64_t bits = 0;
        for (int i = 0; i < kWarp; ++i) bits |= lanes[i].step.value << i;
        return bits;
      }
      case Collective::of_lane:
        return lanes[lanes[0].step.lane].step.value;
      case Collective::largest:
        return std::ranges::max_element(
                   lanes, {},
                   [](const Thread& thread) { return std::bit_cast<double>(thread.step.value); })
            ->step.value;
      default:
        return 0;
    }
  }

  // "warps 0-2: lanes 0-31 at the end; warp 3: lanes 0-4 at score.h:120:9 (where), ...".
  std::string who_is_where() const {
    Said of_warps;
    for (int warp = 0; warp < block_.num_warps(); ++warp) {
      Said of_lanes;
      for (int lane = 0; lane < kWarp; ++lane) {
        const Thread& thread = threads_[warp * kWarp + lane];
        add(of_lanes, thread.has_ended ? "at the end" : "at " + name(thread.step), lane);
      }
      add(of_warps, listed("lane", of_lanes, " ", ", "), warp);
    }
    return listed("warp", of_warps, ": ", "; ");
  }

  std::uint64_t random() {  // SplitMix64
    std::uint64_t x = random_state_ += 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
  }

  const std::size_t page_ = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t stride_ = page_ + kStackBytes;
  std::byte* stacks_;
  int num_prepared_ = 0;  // threads, which wait for a block
  std::array<Thread, kMaxThreads> threads_{};
  std::array<Warp, kMaxThreads / kWarp> warps_{};
  Stack caller_{};  // of run_blocks
#ifdef VL4POSE_ADDRESS_SANITIZER
  Stack* left_ = nullptr;  // last
#endif

  detail::Body body_{};
  EmulatedBlock block_;
  std::vector<std::byte> memory_;  // the shared memory, between its guards
  std::exception_ptr error_;
  int current_ = 0;            // thread,
  int current_warp_ = 0;       // and its warp
  std::uint32_t can_run_ = 0;  // warps of which a lane can
  int num_waiting_ = 0;        // at Block::sync
  int num_ended_ = 0;
  std::uint64_t random_state_ = 0;
  std::uint64_t rarely_ = 0;  // bits of a random number that are 0 when another warp takes over
};

namespace detail {

std::uint64_t take(Emulator& emulator, int thread, const Step& step) {
  return emulator.take(thread, step);
}

void run_blocks(std::int64_t num_blocks, int num_threads, std::size_t shared_bytes,
                std::uint64_t seed, const Body& body) {
  Emulator::of_this_thread().run(num_blocks, num_threads, shared_bytes, seed, body);
}

}  // namespace detail

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
