#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| topip_fuzz::bpf_walk::check(bytes));
