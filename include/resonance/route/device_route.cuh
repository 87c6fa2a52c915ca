// SPDX-License-Identifier: Apache-2.0
//! \file
//! The whole route on the device: one launch for small batches, two or three for large ones.
#ifndef RESONANCE_ROUTE_DEVICE_ROUTE_CUH
#define RESONANCE_ROUTE_DEVICE_ROUTE_CUH

#include <resonance/config.hpp>
#include <resonance/core/launch.cuh>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>
#include <resonance/core/workspace.hpp>
#include <resonance/route/device_fused.cuh>
#include <resonance/route/device_route_choice.cuh>
#include <resonance/route/device_stepped.cuh>
#include <resonance/route/options.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace route {
RESONANCE_ARCH_NAMESPACE_BEGIN

//! The most slots of a route's merged assignments: T*K, more for union_ and expert_only. 0 when input or options are
//! refused.
template <class M, class S, class G, class C, class F, class O, class Input>
std::int64_t device_route_slots(const Input& input, const options<M, S, G, C, F, O>& o) {
  const detail::device_tables<M, S, G, C, F, O, Input> tables(input, o);
  return tables.check(outputs<>{}).ok() ? tables.most_slots() : 0;
}

//! Bytes of workspace that device_route needs, whatever outputs are asked for; 0 when the input or the options are
//! refused.
template <class M, class S, class G, class C, class F, class O, class Input>
std::size_t device_route_workspace_bytes(const Input& input, const options<M, S, G, C, F, O>& o) {
  detail::device_tables<M, S, G, C, F, O, Input> tables(input, o);
  if (!tables.check(outputs<>{}).ok()) return 0;
  detail::fused_route<M, S, G, C, F, O, Input> fused(tables);
  detail::stepped_route<M, S, G, C, F, O, Input> stepped(tables);
  std::size_t most = 0;
  const auto count = [&](auto& way) {
    detail::workspace_carver counter;
    tables.carve(counter, outputs<>{});
    way.carve(counter);
    most = counter.bytes() > most ? counter.bytes() : most;
  };
  if (fused.covers(std::is_same_v<C, prune::unlimited>)) count(fused);
  if (!fused.covers(false)) count(stepped);
  return most;
}

//! Routes a batch: affinity, token choice, merge, prune, plan.
//!
//! Equation   SEMANTICS 2-7; each stage as its own function says, to the bit
//! Inputs     input: affinity::hidden_input, logits_input or residual_logits_input, as the metric reads; options: see
//!            route::options. All arrays in device memory but rank_set::ranks
//! Outputs    see route::outputs; what is null is not written
//! Contract   the bits of host_route, and of the stages run one by one, whichever way is taken
//! Errors     every stage's, before anything is launched; launch_failed
//! Resources  launches: 1 for T <= 256; else 2 where everything chosen is kept (unlimited, no figures asked for), 3
//!            with pruning, and 2 where the merge asks the experts, rows go by affinity, K exceeds 32, a row does not
//!            fit shared memory, or pruning comes with shared, renormalize or an expert_map: there the second
//!            launch does all that is left, its blocks waiting for one another. device_route_workspace_bytes; no
//!            allocation, no synchronization, capturable
//! Cost       the stages'; a fused route reads what it chose once more per launch
//! Example    examples/cuda/02_route_in_a_graph.cu
template <class M, class S, class G, class C, class F, class O, class Input, class Index>
status device_route(const device_stream& on, const Input& input, const options<M, S, G, C, F, O>& o,
                    const outputs<Index>& out, workspace_view workspace) {
  detail::device_tables<M, S, G, C, F, O, Input> tables(input, o);
  detail::checks c;
  c.also(tables.check(out));
  if (!c.result().ok()) return c.result();
  c.also(token_choice::device_selection<S>::check(o.selection, o.choice));
  c.fits(tables.most_slots() <= std::int64_t{0xffffffffu}, "top_k");
  if (!c.result().ok()) return c.result();
  c.also(detail::check_workspace(workspace, device_route_workspace_bytes(input, o)));
  if (!c.result().ok()) return c.result();
  detail::workspace_carver carver(workspace.data);
  tables.carve(carver, out);
  detail::fused_route<M, S, G, C, F, O, Input> fused(tables);
  if (fused.covers(detail::keeps_all(tables, out))) {
    fused.carve(carver);
    return fused.run(on, out);
  }
  detail::stepped_route<M, S, G, C, F, O, Input> stepped(tables);
  stepped.carve(carver);
  return stepped.run(on, out);
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace route

//! The device as a router's backend.
class device_backend {
 public:
  explicit device_backend(const device_stream& on) : on_(on) {}

  template <class Input, class Options>
  std::size_t route_workspace_bytes(const Input& input, const Options& o) const {
    return route::device_route_workspace_bytes(input, o);
  }

  template <class Input, class Options, class Index>
  status route(const Input& input, const Options& o, const route::outputs<Index>& out, workspace_view workspace) const {
    return route::device_route(on_, input, o, out, workspace);
  }

 private:
  device_stream on_;
};

inline device_backend on_device(const device_stream& on) { return device_backend(on); }
inline device_backend on_device(cudaStream_t stream) {
  device_stream on;
  on.stream = stream;
  return device_backend(on);
}

RESONANCE_NAMESPACE_END

#endif
