//! The attributes `#[eddies::main]` and `#[eddies::test]`; documented where `eddies` exports them.
