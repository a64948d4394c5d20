#[eddies_macros::main]
fn main() {}
