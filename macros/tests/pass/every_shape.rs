//! Each shape of function that the attributes accept; run as well as compiled.

#[path = "../shared/stand_in.rs"]
mod stand_in;

use std::process::ExitCode;

/// A path in place of a string, a trailing comma, attributes, a visibility, names that a careless macro would shadow.
#[eddies_macros::main(workers = 2, crate = crate::stand_in,)]
#[inline(never)]
#[must_use]
pub(crate) async fn runtime() -> Result<u8, std::num::ParseIntError> {
    #![allow(unused_variables)]
    let error = 1;
    let value: u8 = "42".parse()?;
    if value == 0 {
        return Ok(0);
    }
    Ok(value)
}

#[eddies_macros::main(crate = "crate::stand_in")]
async fn opaque() -> impl std::fmt::Display {
    "opaque"
}

#[eddies_macros::main(crate = "crate::stand_in")]
async fn never() -> ! {
    panic!("out of here")
}

#[eddies_macros::main(workers = 13, crate = "crate::stand_in")]
async fn unbuildable() {}

#[eddies_macros::main(crate = "crate::stand_in")]
async fn main() -> ExitCode {
    assert_eq!(runtime(), Ok(42));
    assert_eq!(opaque().to_string(), "opaque");
    std::panic::set_hook(Box::new(|_| {}));
    assert!(std::panic::catch_unwind(|| never()).is_err());
    let payload = std::panic::catch_unwind(unbuildable).unwrap_err();
    let _ = std::panic::take_hook();
    let text = payload.downcast_ref::<String>().unwrap();
    assert_eq!(text, "#[eddies::main] could not build the runtime for `unbuildable`: thirteen is refused");
    ExitCode::SUCCESS
}
