#include "emulated_group.h"

#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <exception>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#define VL4POSE_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define VL4POSE_ADDRESS_SANITIZER 1
#endif
#endif
#ifdef VL4POSE_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

// vl4pose_switch_stack(from, to) goes on where *to was left, and leaves where it was itself in
// *from. swapcontext does the same with a system call for the signal mask, ten times as slow;
// longjmp to another stack is what _FORTIFY_SOURCE and the address sanitizer take for an error.
// What is left on a stack is what a function has to preserve, and the address to return to.
#if defined(__x86_64__) && defined(__ELF__) && !defined(VL4POSE_SWITCH_BY_UCONTEXT)
extern "C" void vl4pose_switch_stack(void** from, void** to);
asm(R"(
.pushsection .text
.globl vl4pose_switch_stack
.hidden vl4pose_switch_stack
.type vl4pose_switch_stack, @function
.p2align 4
vl4pose_switch_stack:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, (%rdi)
  mov (%rsi), %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
.size vl4pose_switch_stack, . - vl4pose_switch_stack
.popsection
)");
static constexpr int kWordsLeft = 8, kAddressWord = 6;  // and one that aligns
#elif defined(__aarch64__) && defined(__ELF__) && !defined(VL4POSE_SWITCH_BY_UCONTEXT)
extern "C" void vl4pose_switch_stack(void** from, void** to);
asm(R"(
.pushsection .text
.globl vl4pose_switch_stack
.hidden vl4pose_switch_stack
.type vl4pose_switch_stack, %function
.p2align 4
vl4pose_switch_stack:
  sub sp, sp, #160
  stp x19, x20, [sp]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  ldr x9, [x1]
  mov sp, x9
  ldp x19, x20, [sp]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size vl4pose_switch_stack, . - vl4pose_switch_stack
.popsection
)");
static constexpr int kWordsLeft = 20, kAddressWord = 11;
#else
#define VL4POSE_SWITCH_BY_UCONTEXT 1
#endif

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {
namespace {

constexpr int kWarp = EmulatedWarp::kSize;
constexpr int kMaxThreads = 1024;
constexpr std::uint32_t kAll = 0xffffffff;  // lanes of a warp, or warps of the largest block
#ifdef VL4POSE_ADDRESS_SANITIZER
constexpr std::size_t kStackBytes = 256 << 10;
#else
constexpr std::size_t kStackBytes = 64 << 10;
#endif

// Bytes that no kernel is likely to write by accident.
constexpr std::byte kGarbage{0xcd}, kGuard{0xa7};
constexpr auto kGuardZone = [] {
  std::array<std::byte, 1024> zone;
  zone.fill(kGuard);
  return zone;
}();

// A stack, and where its owner was when it went to another.
struct Stack {
#ifdef VL4POSE_SWITCH_BY_UCONTEXT
  ucontext_t left_at;
#else
  void* left_at = nullptr;
#endif
  std::byte* memory = nullptr;  // none for the stack that run_blocks is called on
#ifdef VL4POSE_ADDRESS_SANITIZER
  void* frames_elsewhere = nullptr;  // those that the sanitizer keeps off the stack
  const void* bottom = nullptr;
  std::size_t size = 0;
#endif
};

void switch_stack(Stack& from, Stack& to, [[maybe_unused]] Stack*& last) {
#ifdef VL4POSE_ADDRESS_SANITIZER
  last = &from;
  __sanitizer_start_switch_fiber(&from.frames_elsewhere, to.bottom, to.size);
#endif
#ifdef VL4POSE_SWITCH_BY_UCONTEXT
  swapcontext(&from.left_at, &to.left_at);
#else
  vl4pose_switch_stack(&from.left_at, &to.left_at);
#endif
#ifdef VL4POSE_ADDRESS_SANITIZER
  __sanitizer_finish_switch_fiber(from.frames_elsewhere, &last->bottom, &last->size);
#endif
}

// As if the function had called switch_stack() before its first statement.
void start_at(void (*function)(), Stack& stack) {
#ifdef VL4POSE_SWITCH_BY_UCONTEXT
  getcontext(&stack.left_at);
  stack.left_at.uc_stack.ss_sp = stack.memory;
  stack.left_at.uc_stack.ss_size = kStackBytes;
  stack.left_at.uc_link = nullptr;
  makecontext(&stack.left_at, function, 0);
#else
  std::array<std::uintptr_t, kWordsLeft> words{};
  words[kAddressWord] = reinterpret_cast<std::uintptr_t>(function);
  stack.left_at = stack.memory + kStackBytes - sizeof words;
  std::memcpy(stack.left_at, words.data(), sizeof words);
#endif
#ifdef VL4POSE_ADDRESS_SANITIZER
  stack.bottom = stack.memory;
  stack.size = kStackBytes;
  __asan_unpoison_memory_region(stack.memory, kStackBytes);  // where forgotten frames were
#endif
}

class Mapping {
 public:
  explicit Mapping(std::size_t size) : size_(size) {
    void* const memory =
        mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    memory_ = static_cast<std::byte*>(memory);
  }
  Mapping(Mapping&& other) noexcept
      : memory_(std::exchange(other.memory_, nullptr)), size_(other.size_) {}
  ~Mapping() {
    if (!memory_) return;
#ifdef VL4POSE_ADDRESS_SANITIZER
    __asan_unpoison_memory_region(memory_, size_);  // for who is given these addresses next
#endif
    munmap(memory_, size_);
  }

  std::byte* memory() const { return memory_; }

 private:
  std::byte* memory_ = nullptr;
  std::size_t size_;
};

// SplitMix64.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t operator()() {
    std::uint64_t x = state_ += 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
  }

 private:
  std::uint64_t state_;
};

// One of the bits that are set. Not all are equally likely, but all are possible.
int one_of(std::uint32_t bits, std::uint64_t random) {
  const int first = static_cast<int>(random % 32);
  return (first + std::countr_zero(std::rotr(bits, first))) % 32;
}

bool is_same(const detail::Step& a, const detail::Step& b) {
  return a.collective == b.collective && a.lane == b.lane && a.place.line() == b.place.line() &&
         a.place.column() == b.place.column() &&
         (a.place.file_name() == b.place.file_name() ||
          std::string_view(a.place.file_name()) == b.place.file_name());
}

template <class T>
T as(std::uint64_t bytes) {
  T value;
  std::memcpy(&value, &bytes, sizeof value);
  return value;
}

// Such as "score.h:120:9 (where)".
std::string name(const detail::Step& step) {
  static constexpr std::array names{"Block::sync", "Warp::sync", "where",         "of_lane",
                                    "largest",     "largest",    "largest of NaN"};
  const std::string_view path = step.place.file_name();
  std::string text(path.substr(path.rfind('/') + 1));
  text += ":" + std::to_string(step.place.line()) + ":" + std::to_string(step.place.column());
  text += std::string(" (") + names[static_cast<std::size_t>(step.collective)];
  if (step.collective == detail::Collective::of_lane) text += " " + std::to_string(step.lane);
  return text + ")";
}

// What is said of lanes, or of warps, in the order in which it was said first; and bits for whom.
using Said = std::vector<std::pair<std::string, std::uint32_t>>;

void add(Said& said, const std::string& text, int of) {
  auto found = std::ranges::find(said, text, &Said::value_type::first);
  if (found == said.end()) found = said.insert(found, {text, 0});
  found->second |= std::uint32_t{1} << of;
}

// Such as "lanes 0-4, 7 at the end, lane 5 at ...".
std::string listed(const char* who, const Said& said, const char* colon, const char* comma) {
  std::string text;
  for (const auto& [what, bits] : said) {
    text += (text.empty() ? "" : comma) + std::string(who);
    const char* before = std::has_single_bit(bits) ? " " : "s ";
    for (int i = 0; i < 32; ++i) {
      if (!(bits >> i & 1)) continue;
      text += before + std::to_string(i);
      const int first = i;
      while (i < 31 && bits >> (i + 1) & 1) ++i;
      if (i > first) text += "-" + std::to_string(i);
      before = ", ";
    }
    text += colon + what;
  }
  return text;
}

}  // namespace

// The threads that blocks run on, one block after another.
class Emulator {
 public:
  void run(std::int64_t num_blocks, int num_threads, std::size_t shared_bytes, std::uint64_t seed,
           detail::Body body);
  std::uint64_t take(int thread, const detail::Step& step);

  static Emulator& of_this_thread() {
    thread_local const auto emulator = std::make_unique<Emulator>();
    return *emulator;
  }

 private:
  struct Thread {
    Stack stack;
    bool has_ended;
    detail::Step step;  // which it waits at, unless it runs or has ended
  };
  struct Warp {
    std::uint32_t can_run;  // lanes that neither wait nor have ended
    int num_waiting;        // at collectives of the warp
    std::uint64_t value;    // of the last collective that came to an end
  };

  static void run_thread();
  Stack& next();
  void prepare_threads();
  bool is_complete(int first, int num_threads) const;
  std::uint64_t value_of(int first) const;
  void let_run(int warp);
  void run_block();
  std::string who_is_where() const;

  std::array<Thread, kMaxThreads> threads_;
  std::array<Warp, kMaxThreads / kWarp> warps_;
  std::vector<Mapping> stacks_;
  std::vector<std::byte> memory_;  // the shared memory and what guards it
  int num_mapped_ = 0, num_prepared_ = 0;
  Stack caller_;            // of run_blocks
  Stack* last_ = &caller_;  // that was left

  bool is_running_ = false;
  detail::Body body_{};
  EmulatedBlock block_;
  std::size_t shared_bytes_ = 0;
  Random random_{0};
  std::exception_ptr error_;
  int current_ = 0;  // thread, and its warp
  int current_warp_ = 0;
  std::uint32_t can_run_ = 0;    // warps in which a lane can
  std::uint64_t rarely_ = 0;     // bits that are all 0 as often as the warp changes
  int num_waiting_ = 0;          // at Block::sync
  int num_ended_ = 0;
};

void Emulator::run_thread() {
  Emulator& emulator = of_this_thread();
  const int index = emulator.current_;
  Thread& thread = emulator.threads_[index];
#ifdef VL4POSE_ADDRESS_SANITIZER
  __sanitizer_finish_switch_fiber(nullptr, &emulator.last_->bottom, &emulator.last_->size);
#endif
  for (;;) {
    try {
      EmulatedBlock block = emulator.block_;
      block.thread_ = index;
      emulator.body_.call(emulator.body_.body, block);
    } catch (...) {
      emulator.error_ = std::current_exception();
    }
    thread.has_ended = true;
    ++emulator.num_ended_;
    switch_stack(thread.stack, emulator.error_ ? emulator.caller_ : emulator.next(),
                 emulator.last_);
  }
}

// Whoever runs next: run_blocks, when nobody else can.
Stack& Emulator::next() {
  if (can_run_ == 0) return caller_;
  const std::uint64_t random = random_();
  if (!(can_run_ >> current_warp_ & 1) || (random >> 10 & rarely_) == 0) {
    current_warp_ = one_of(can_run_, random >> 5);
  }
  Warp& warp = warps_[current_warp_];
  const int lane = one_of(warp.can_run, random);
  warp.can_run &= ~(std::uint32_t{1} << lane);
  if (warp.can_run == 0) can_run_ &= ~(std::uint32_t{1} << current_warp_);
  current_ = current_warp_ * kWarp + lane;
  return threads_[current_].stack;
}

std::uint64_t Emulator::take(int thread, const detail::Step& step) {
  Thread& self = threads_[thread];
  const int warp = thread / kWarp;
  self.step = step;
  if (step.collective == detail::Collective::block_sync) {
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
  if (&to != &self.stack) switch_stack(self.stack, to, last_);
  return warps_[warp].value;
}

void Emulator::let_run(int warp) {
  warps_[warp].can_run = kAll;
  can_run_ |= std::uint32_t{1} << warp;
}

// Whether the threads, which all wait, may go on. If not they wait until nobody can run, and are
// reported then, when everybody has gone as far as possible.
bool Emulator::is_complete(int first, int num_threads) const {
  const detail::Step& step = threads_[first].step;
  return step.lane >= 0 && step.lane < kWarp &&
         step.collective != detail::Collective::largest_of_nan &&
         std::all_of(&threads_[first], &threads_[first] + num_threads,
                     [&step](const Thread& thread) { return is_same(thread.step, step); });
}

// The bytes of the value of a collective at which the warp is that begins with thread `first`.
std::uint64_t Emulator::value_of(int first) const {
  const Thread* const lanes = &threads_[first];
  const auto largest = [lanes]<class T>(T) {
    return std::max_element(lanes, lanes + kWarp, [](const Thread& a, const Thread& b) {
             return as<T>(a.step.value) < as<T>(b.step.value);
           })->step.value;
  };
  switch (lanes->step.collective) {
    case detail::Collective::where: {
      std::uint64_t bits = 0;
      for (int i = 0; i < kWarp; ++i) bits |= lanes[i].step.value << i;
      return bits;
    }
    case detail::Collective::of_lane:
      return lanes[lanes->step.lane].step.value;
    case detail::Collective::largest_float:
      return largest(0.0f);
    case detail::Collective::largest_double:
      return largest(0.0);
    default:
      return 0;
  }
}

// Gives the block's threads a stack where they have none yet, or none that is of use still.
void Emulator::prepare_threads() {
  const int num_threads = block_.num_threads();
  if (num_mapped_ < num_threads) {
    // A page below each stack ends the process when a kernel takes more than the stack has.
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::size_t stride = page + kStackBytes;
    std::byte* memory =
        stacks_.emplace_back(static_cast<std::size_t>(num_threads - num_mapped_) * stride).memory();
    for (; num_mapped_ < num_threads; ++num_mapped_, memory += stride) {
      if (mprotect(memory, page, PROT_NONE) != 0) throw std::bad_alloc();
      threads_[num_mapped_].stack.memory = memory + page;
    }
  }
  for (; num_prepared_ < num_threads; ++num_prepared_) {
    start_at(run_thread, threads_[num_prepared_].stack);
  }
}

void Emulator::run_block() {
  std::byte* const end = block_.shared_ + shared_bytes_;
  const auto write_guard = [](std::byte* to) {
    std::memcpy(to, kGuardZone.data(), kGuardZone.size());
  };
  const auto is_guard = [](const std::byte* at) {
    return std::memcmp(at, kGuardZone.data(), kGuardZone.size()) == 0;
  };
  write_guard(block_.shared_ - kGuardZone.size());
  std::fill(block_.shared_, end, kGarbage);
  write_guard(end);

  const int num_threads = block_.num_threads();
  for (int i = 0; i < num_threads; ++i) threads_[i].has_ended = false;
  for (int i = 0; i < block_.num_warps(); ++i) {
    warps_[i] = {};
    let_run(i);
  }
  num_waiting_ = num_ended_ = 0;
  // A warp that runs on by itself finds other mistakes than warps that go side by side: in this
  // block another one takes over after 1, 16, 256 or 4096 steps of a thread, on average.
  rarely_ = (std::uint64_t{1} << random_() % 4 * 4) - 1;
  switch_stack(caller_, next(), last_);

  if (error_ || num_ended_ < num_threads) {
    can_run_ = 0;
    num_prepared_ = 0;  // for they stand anywhere
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
    throw std::logic_error("block " + std::to_string(block_.index()) +
                           ", where nobody can go on: " + who_is_where());
  }
  if (!is_guard(block_.shared_ - kGuardZone.size()) || !is_guard(end)) {
    throw std::logic_error("block " + std::to_string(block_.index()) + " wrote " +
                           (is_guard(end) ? "before" : "behind") + " its shared memory of " +
                           std::to_string(shared_bytes_) + " bytes");
  }
}

void Emulator::run(std::int64_t num_blocks, int num_threads, std::size_t shared_bytes,
                   std::uint64_t seed, detail::Body body) {
  if (num_threads <= 0 || num_threads > kMaxThreads || num_threads % kWarp != 0) {
    throw std::invalid_argument("num_threads must be a multiple of 32 up to 1024, got " +
                                std::to_string(num_threads));
  }
  if (is_running_) throw std::logic_error("run_blocks is called by a thread of a block");
  is_running_ = true;
  const auto stop = [](bool* is_running) { *is_running = false; };
  const std::unique_ptr<bool, decltype(stop)> running(&is_running_);

  block_.emulator_ = this;
  block_.num_blocks_ = num_blocks;
  block_.num_threads_ = num_threads;
  body_ = body;
  random_ = Random(seed);
  shared_bytes_ = shared_bytes;
  prepare_threads();
  constexpr std::size_t kOdd = 16, kEven = 2 * kOdd;  // kOdd bytes after what is aligned to kEven
  memory_.resize(std::max(memory_.size(), shared_bytes + 2 * kGuardZone.size() + kEven + kOdd));
  std::byte* const lowest = memory_.data() + kGuardZone.size();
  block_.shared_ = lowest + (kEven - reinterpret_cast<std::uintptr_t>(lowest) % kEven) + kOdd;
  for (block_.index_ = 0; block_.index_ < num_blocks; ++block_.index_) run_block();
}

// "warps 0-2: lanes 0-31 at the end; warp 3: lanes 0-4 at score.h:120:9 (where), lanes 5-31 ...".
std::string Emulator::who_is_where() const {
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

namespace detail {

std::uint64_t take(Emulator& emulator, int thread, const Step& step) {
  return emulator.take(thread, step);
}

void run_blocks(std::int64_t num_blocks, int num_threads, std::size_t shared_bytes,
                std::uint64_t seed, Body body) {
  Emulator::of_this_thread().run(num_blocks, num_threads, shared_bytes, seed, body);
}

}  // namespace detail

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
