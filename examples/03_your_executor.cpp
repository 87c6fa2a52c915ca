// SPDX-License-Identifier: Apache-2.0
// Your threads: an executor is any type with workers() and run(count, f). The results do not depend on it.
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <random>
#include <thread>
#include <vector>

#include <resonance/resonance.hpp>

namespace rs = resonance;

// Starts threads for every call. An engine would hand f to the pool that it has.
struct fresh_threads {
  int count_of_workers;
  mutable std::atomic<int> calls{0};

  explicit fresh_threads(int workers) : count_of_workers(workers) {}
  int workers() const { return count_of_workers; }

  template <class F>
  void run(int count, F&& f) const {
    std::atomic<int> next{0};
    const auto work = [&] {
      for (int i = next++; i < count; i = next++) {
        f(i);
        ++calls;
      }
    };
    std::vector<std::thread> threads;
    for (int i = 1; i < count_of_workers; ++i) threads.emplace_back(work);
    work();
    for (std::thread& thread : threads) thread.join();
  }
};

struct routed {
  std::vector<std::int32_t> ids, sorted_token_ids;
  std::vector<float> weights;
  bool ok = false;
};

template <class Executor>
static routed route(const std::vector<float>& x, std::int64_t hidden, std::int32_t experts, const Executor& executor) {
  using router = rs::router<rs::affinity::grouped_average_cosine, rs::token_choice::top_k, rs::merge::restricted,
                            rs::prune::affinity_mass>;
  const std::int64_t tokens = static_cast<std::int64_t>(x.size()) / hidden;
  router::options options;
  options.choice.top_k = 2;
  options.capacity.rho = 0.8;
  rs::affinity::hidden_input<float> input;
  input.hidden = {x.data(), tokens, hidden};
  input.experts = experts;

  routed result;
  const auto slots = static_cast<std::size_t>(tokens * 2);
  std::vector<std::int32_t> inverse(slots), offsets(static_cast<std::size_t>(experts) + 1);
  std::int64_t num_rows[2];
  result.ids.resize(slots);
  result.weights.resize(slots);
  result.sorted_token_ids.resize(slots, -1);
  rs::route::outputs<> out;
  out.prune.ids = result.ids.data();
  out.prune.weights = result.weights.data();
  out.plan = {nullptr, offsets.data(), result.sorted_token_ids.data(), inverse.data(), nullptr, num_rows};

  const auto host = rs::on_host(executor);  // keeps a reference to the executor
  std::vector<char> workspace(router::workspace_bytes(host, input, options));
  result.ok = router::run(host, input, options, out, {workspace.data(), workspace.size()}).ok();
  return result;
}

int main() {
  constexpr std::int64_t hidden = 48;
  constexpr std::int32_t experts = 7;
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::vector<float> x(4000 * hidden);
  for (float& value : x) value = normal(random);

  const routed serial = route(x, hidden, experts, rs::serial_executor{});
  bool equal = serial.ok;
  for (const int workers : {1, 2, 3, 8}) {
    const fresh_threads executor(workers);
    const routed own = route(x, hidden, experts, executor);
    equal = equal && own.ok && own.ids == serial.ids && own.weights == serial.weights &&
            own.sorted_token_ids == serial.sorted_token_ids && (workers == 1 || executor.calls > workers);
    std::printf("%d workers, %d pieces of work: %s\n", workers, executor.calls.load(), equal ? "equal" : "DIFFERENT");
  }
  return equal ? 0 : 1;
}
