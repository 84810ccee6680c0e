//! Against the real thing: the kernel's sockets, and the tools that list them.

mod kernel;
mod sandbox;
