//! `eddies::streams` through the public interface alone. Nothing here waits by the clock.

#[path = "shared/folder.rs"]
mod folder;
#[path = "streams/props.rs"]
mod props;
#[path = "streams/readers.rs"]
mod readers;
#[path = "streams/servers.rs"]
mod servers;
#[path = "streams/writers.rs"]
mod writers;
