/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Lists the TCP sockets of a network namespace, except listening ones, as a file: a BPF
 * iterator (linux/bpf.h) that topip-bpf.service pins and check_topip reads.
 *
 * The iterator goes through the elements of an array map and calls this program for each.
 * An element stands for a slice of the kernel's hash table. The program takes nothing from
 * the reader but its network namespace, and writes to nothing but the file that is read.
 *
 * Linux 6.2 and later: bpf_rdonly_cast. The program needs no kernel headers: libbpf takes
 * the offsets of these fields from the running kernel (CO-RE). The order of the records is
 * in src/parse/bpf_walk.rs.
 */
#include <linux/types.h>
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

/* The kernel refuses the helpers to a program under the MIT license alone. */
char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define FORMAT_VERSION 1
/* Default number of slices. The map that is pinned decides. A slice has at most 32 KiB:
 * 1,364 sockets, or half as many if each has another local address than the previous one. */
#define N_SLICES 4096
/* Chains that are walked at the same time, so that their cache misses overlap. */
#define N_LANES 32
/* Maximum number of turns, in each of which all lanes go on to the next socket. */
#define MAX_TURNS (1 << 20)
/* Maximum number of buckets of a slice. */
#define MAX_BUCKETS (1 << 16)
/* Buckets that are skipped at once if they are empty. */
#define N_SKIPPED 8
#define SKIPPED_BYTES (N_SKIPPED * sizeof(__u64))

#define AF_INET 2
#define AF_INET6 10
#define TCP_TIME_WAIT 6
#define TCP_CLOSE 7
#define TCP_LISTEN 10

/* The fields of the kernel's structures that are read. */
#define KERNEL __attribute__((preserve_access_index))

struct seq_file;
struct inet_ehash_bucket;

struct bpf_iter_meta {
	struct seq_file *seq;
} KERNEL;

struct bpf_map {
	__u32 max_entries;
} KERNEL;

struct bpf_iter__bpf_map_elem {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	void *key;
} KERNEL;

struct inet_hashinfo {
	struct inet_ehash_bucket *ehash;
	unsigned int ehash_mask;
} KERNEL;

struct inet_timewait_death_row {
	struct inet_hashinfo *hashinfo;
} KERNEL;

struct netns_ipv4 {
	struct inet_timewait_death_row tcp_death_row;
} KERNEL;

struct net {
	struct netns_ipv4 ipv4;
} KERNEL;

struct nsproxy {
	struct net *net_ns;
} KERNEL;

struct task_struct {
	struct nsproxy *nsproxy;
} KERNEL;

struct in6_addr {
	union {
		__u32 u6_addr32[4];
	} in6_u;
} KERNEL;

typedef struct {
	struct net *net;
} KERNEL possible_net_t;

struct hlist_nulls_node {
	struct hlist_nulls_node *next;
} KERNEL;

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	unsigned int skc_hash;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
	struct hlist_nulls_node skc_nulls_node;
} KERNEL;

struct inet_timewait_sock {
	volatile unsigned char tw_substate;
} KERNEL;

/* Any structure of the kernel with a number in front: a pointer that is read as this number
 * is a number for the verifier. */
struct timespec64 {
	long long tv_sec;
} KERNEL;

extern void *bpf_rdonly_cast(const void *object, __u32 type_id) __ksym;

#define CAST(type, address) \
	((type *)bpf_rdonly_cast((void *)(address), bpf_core_type_id_kernel(type)))
#define WORD(address) ((__u64)CAST(struct timespec64, address)->tv_sec)
#define NODE_OFFSET bpf_core_field_offset(struct sock_common, skc_nulls_node)

/* All records have 24 bytes. */
struct head {
	char magic[8];
	__u32 version;
	__u32 record_bytes;
	__u32 n_buckets;
	__u32 zero;
};

/* With the TCP state 0, this is the local address of the following sockets of this family in the
 * slice. At the start of a slice, the local addresses are unspecified. */
struct socket {
	__u32 peer[4];
	__u16 local_port;
	__be16 peer_port;
	__u8 tcp_state;
	__u8 family;
	__u16 zero;
};

/* Ends a slice. `family` is 0. */
struct slice_end {
	__u32 slice;
	__u32 n_sockets;
	__u32 first_bucket;
	__u32 end_bucket;
	__u32 zero;
	__u8 tcp_state;
	__u8 family;
	__u16 version;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, N_SLICES);
	__type(key, __u32);
	__type(value, __u32);
} slices SEC(".maps");

struct walk {
	struct seq_file *seq;
	struct net *net;
	/* Addresses of the first bucket of the slice, of the next one to begin, and of the end. */
	__u64 first;
	__u64 next;
	__u64 end;
	__u32 first_bucket;
	/* Number of buckets of the table, less one. */
	__u32 mask;
	/* Sum of the first nodes of all chains that began. A socket is added at the head of a
	 * chain. */
	__u32 heads;
	__u16 n_sockets;
	/* Number of lanes with a chain: the first ones. */
	__u16 n_lanes;
	/* Lane that was visited last. */
	__u16 lane;
	/* A chain changed while it was read. */
	__u8 is_torn;
	__u8 is_full;
	/* The local addresses that were written last. */
	__be32 local;
	__u32 local_v6[4];
	/* The next node of the chain in each lane. */
	__u64 nodes[N_LANES];
	/* Bucket of the chain in each lane, counted from the first one. */
	__u16 lane_buckets[N_LANES];
};

static void copy_address(__u32 *to, struct in6_addr *from)
{
	to[0] = from->in6_u.u6_addr32[0];
	to[1] = from->in6_u.u6_addr32[1];
	to[2] = from->in6_u.u6_addr32[2];
	to[3] = from->in6_u.u6_addr32[3];
}

static int is_same_address(const __u32 *one, const __u32 *other)
{
	return one[0] == other[0] && one[1] == other[1] && one[2] == other[2] &&
	       one[3] == other[3];
}

static void write_record(struct walk *walk, const struct socket *socket)
{
	if (bpf_seq_write(walk->seq, (void *)socket, sizeof(*socket)))
		walk->is_full = 1;
}

static void emit(struct walk *walk, struct sock_common *sk)
{
	struct socket socket = {};
	__u8 tcp_state = sk->skc_state;
	__u16 family = sk->skc_family;
	__u16 local_port = sk->skc_num;

	/* sock_diag shows FIN_WAIT2 sockets without a process, too, as what they wait for. */
	if (tcp_state == TCP_TIME_WAIT)
		tcp_state = CAST(struct inet_timewait_sock, sk)->tw_substate;
	/* Sockets in these states, or without a state or port, are not in the table, unless they
	 * enter or leave it right now. */
	if (sk->skc_net.net != walk->net || !tcp_state || tcp_state == TCP_CLOSE ||
	    tcp_state == TCP_LISTEN || !local_port)
		return;
	socket.family = family;
	if (family == AF_INET) {
		socket.peer[2] = 0xffff0000;
		socket.peer[3] = sk->skc_rcv_saddr;
		if (socket.peer[3] != walk->local) {
			walk->local = socket.peer[3];
			write_record(walk, &socket);
		}
		socket.peer[3] = sk->skc_daddr;
	} else if (family == AF_INET6) {
		copy_address(socket.peer, &sk->skc_v6_rcv_saddr);
		if (!is_same_address(socket.peer, walk->local_v6)) {
			__builtin_memcpy(walk->local_v6, socket.peer, sizeof(walk->local_v6));
			write_record(walk, &socket);
		}
		copy_address(socket.peer, &sk->skc_v6_daddr);
	} else {
		return;
	}
	socket.local_port = local_port;
	socket.peer_port = sk->skc_dport;
	socket.tcp_state = tcp_state;
	walk->n_sockets++;
	write_record(walk, &socket);
	/* The kernel uses the memory of a removed socket again, while its node still leads to this
	 * chain. */
	if ((sk->skc_hash & walk->mask) !=
	    walk->first_bucket + walk->lane_buckets[walk->lane & (N_LANES - 1)])
		walk->is_torn = 1;
}

static int is_empty(__u64 bucket)
{
	__u64 heads = 1;

#pragma unroll
	for (int i = 0; i < N_SKIPPED; i++)
		heads &= WORD(bucket + i * sizeof(__u64));
	return heads;
}

/* Begins the chain of the next bucket, if it has sockets, in the next free lane. */
static long begin_chain(__u32 turn, struct walk *walk)
{
	__u64 bucket = walk->next;
	__u32 lane = walk->n_lanes;
	__u64 node;

	if (bucket >= walk->end || lane >= N_LANES)
		return 1;
	if (bucket % SKIPPED_BYTES == 0 && is_empty(bucket)) {
		walk->next = bucket + SKIPPED_BYTES;
		return 0;
	}
	walk->next = bucket + sizeof(__u64);
	node = WORD(bucket);
	if (node & 1)
		return 0;
	walk->heads += node >> 4;
	walk->nodes[lane & (N_LANES - 1)] = node;
	walk->lane_buckets[lane & (N_LANES - 1)] = (bucket - walk->first) / sizeof(__u64);
	walk->n_lanes = lane + 1;
	return 0;
}

/* Lists the next socket of the previous lane: from the last to the first, so that the last
 * lane can take the place of one whose chain has ended. */
static long visit(__u32 turn, struct walk *walk)
{
	__u32 last = (walk->n_lanes - 1) & (N_LANES - 1);
	__u32 lane = (walk->lane - 1) & (N_LANES - 1);
	__u64 node = walk->nodes[lane];
	__u64 next;

	walk->lane = lane;
	emit(walk, CAST(struct sock_common, node - NODE_OFFSET));
	/* Read this last: if the socket became another one before, it is in another chain. This
	 * keeps the order of the compiler; x86 keeps it, too. */
	barrier();
	next = WORD(node);
	if (!(next & 1)) {
		walk->nodes[lane] = next;
		return 0;
	}
	/* The end of each chain has the number of its bucket (linux/list_nulls.h). */
	if (next >> 1 != walk->first_bucket + walk->lane_buckets[lane])
		walk->is_torn = 1;
	walk->nodes[lane] = walk->nodes[last];
	walk->lane_buckets[lane] = walk->lane_buckets[last];
	walk->n_lanes = last;
	return 0;
}

/* Fills the lanes, and goes on to the next socket in each. */
static long visit_lanes(__u32 turn, struct walk *walk)
{
	__u64 touched = 0;

	bpf_loop(MAX_BUCKETS, begin_chain, walk, 0);
	if (!walk->n_lanes)
		return 1;
	/* Read from all sockets at once, so that the cache misses overlap. */
#pragma unroll
	for (int lane = 0; lane < N_LANES; lane++) {
		__u64 is_free = -(__u64)(lane >= walk->n_lanes);
		__u64 node = walk->nodes[lane];
		/* For a free lane, read something harmless, without a branch. */
		node = (node & ~is_free) | ((walk->first + NODE_OFFSET) & is_free);
		touched += WORD(node) + WORD(node - NODE_OFFSET);
		/* The compiler must not drop what is read for the cache, nor spill it. */
		barrier_var(touched);
	}
	walk->lane = walk->n_lanes;
	bpf_loop(walk->n_lanes, visit, walk, 0);
	return walk->is_torn || walk->is_full;
}

/* Subtracts the first nodes of some chains. A slice and the table are a multiple of these. */
static long check_heads(__u32 turn, struct walk *walk)
{
	__u64 bucket = walk->first + turn * SKIPPED_BYTES;
	__u32 heads = 0;

	if (bucket >= walk->end)
		return 1;
#pragma unroll
	for (int i = 0; i < N_SKIPPED; i++) {
		__u64 node = WORD(bucket + i * sizeof(__u64));
		/* Empty chains are odd, and add nothing. */
		heads += (node >> 4) & ((node & 1) - 1);
	}
	walk->heads -= heads;
	return 0;
}

/* Lists the sockets of a slice. */
static void walk_slice(struct walk *walk)
{
	bpf_loop(MAX_TURNS, visit_lanes, walk, 0);
	/* A socket that enters TIME_WAIT is replaced by another one at the head of its chain, which
	 * the walk may have passed. */
	bpf_loop(MAX_BUCKETS / N_SKIPPED, check_heads, walk, 0);
	if (walk->next < walk->end || walk->n_lanes || walk->heads)
		walk->is_torn = 1;
}

SEC("iter/bpf_map_elem")
int sockets(struct bpf_iter__bpf_map_elem *ctx)
{
	struct walk walk = { .seq = ctx->meta->seq };
	struct task_struct *reader = (void *)bpf_get_current_task_btf();
	struct inet_hashinfo *hashinfo;
	__u32 *key = ctx->key;
	__u32 n_buckets, n_per_slice, first, end;
	__u64 table;

	/* The iterator ends with a call without an element. */
	if (!key)
		return 0;
	walk.net = reader->nsproxy->net_ns;
	hashinfo = walk.net->ipv4.tcp_death_row.hashinfo;
	n_buckets = hashinfo->ehash_mask + 1;
	if (bpf_probe_read_kernel(&table, sizeof(table), &hashinfo->ehash))
		return 0;
	if (*key == 0) {
		struct head head = {
			.magic = "topipbpf",
			.version = FORMAT_VERSION,
			.record_bytes = sizeof(struct socket),
			.n_buckets = n_buckets,
		};
		bpf_seq_write(walk.seq, &head, sizeof(head));
	}
	n_per_slice = (n_buckets + ctx->map->max_entries - 1) / ctx->map->max_entries;
	n_per_slice = (n_per_slice + N_LANES - 1) & ~(N_LANES - 1);
	first = *key * n_per_slice;
	/* A table is a power of two. Without its slices, the reader rejects one that is too small
	 * or too large. */
	if (n_buckets < N_LANES || n_per_slice > MAX_BUCKETS || first >= n_buckets)
		return 0;
	end = first + n_per_slice;
	if (end > n_buckets)
		end = n_buckets;
	walk.first = table + first * sizeof(__u64);
	walk.next = walk.first;
	walk.end = table + end * sizeof(__u64);
	walk.first_bucket = first;
	walk.mask = n_buckets - 1;
	walk_slice(&walk);
	if (walk.is_torn && !walk.is_full)
		return 1; /* The kernel drops the slice, and the next read calls this again. */
	struct slice_end slice_end = {
		.slice = *key,
		.n_sockets = walk.n_sockets,
		.first_bucket = first,
		.end_bucket = end,
		.version = FORMAT_VERSION,
	};
	bpf_seq_write(walk.seq, &slice_end, sizeof(slice_end));
	return 0;
}
