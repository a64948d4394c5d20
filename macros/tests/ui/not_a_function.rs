#[eddies_macros::test]
struct Request;

fn main() {}
