// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Counts packets and bytes on an interface. A per-CPU map needs no atomic operations and no lock.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

// A constant in .rodata: a loader may overwrite it before the load, and the verifier then treats it as known.
const volatile __u32 sample_every = 1;

struct packet_count {
	__u64 packets;
	__u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct packet_count);
} packet_counts SEC(".maps");

SEC("xdp")
int xdp_counter(struct xdp_md *ctx)
{
	if (sample_every > 1 && bpf_get_prandom_u32() % sample_every != 0)
		return XDP_PASS;

	__u32 key = 0;
	struct packet_count *count = bpf_map_lookup_elem(&packet_counts, &key);
	if (count) {
		count->packets += 1;
		count->bytes += ctx->data_end - ctx->data;
	}
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
