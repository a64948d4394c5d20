//! The attributes `#[eddies::main]` and `#[eddies::test]`; `eddies` re-exports them, and programs use them from there.
//!
//! Both turn an async function into an ordinary one with the async function inside:
//!
//! ```text
//! #[eddies::main(workers = 2)]          fn main() -> T {
//! async fn main() -> T { body }    →        async fn main() -> T { body }
//!                                           ::eddies::Runtime::builder().workers(2).build()….block_on(main())
//!                                       }
//! ```
//!
//! The body stays the body of an async function with its declared return type: what the compiler says about it is what it says about
//! any async function, and it points there. An `async { body }` block would have to be inferred from the outside, and its errors would point at
//! code that nobody wrote. The price: the function is a free one, for the `Self` of a surrounding `impl` has no meaning in it. The body's
//! tokens pass through unparsed, so that an editor can complete code that is not finished yet.

use proc_macro::TokenStream;
use proc_macro2::{Group, Span, TokenStream as Tokens};
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Error, Ident, LitInt, LitStr, Path, Result, Signature, Token, Visibility};

/// The calling thread is one of the workers. When the function's future is ready, the runtime shuts down: tasks that still run are cancelled,
/// threads are joined, and then the program goes on with the function's value as if `main` had returned it.
///
/// It goes on a free async function without arguments and generics, most often `main`.
///
/// # Arguments
///
/// - `workers = 4`: how many loops the runtime has. Without it the builder decides: the environment variable `EDDIES_WORKERS`, else the number
///   of CPUs that this process may use. `workers = 1` is the single-threaded runtime.
/// - `crate = "path::to::eddies"`: where the macro finds the crate when it is renamed or re-exported; `::eddies` otherwise.
///
/// # Panics
///
/// When the runtime cannot be built (the system gives no thread or no file descriptor), with the system's reason in the message.
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand(Attr::Main, arguments.into(), item.into()).into()
}

/// Stands in place of `#[test]`, and goes with what goes with it: `#[should_panic]`, `#[ignore]`, a `Result` as the return type. The
/// runtime has one loop, so a test is single-threaded unless it asks for more.
///
/// # Arguments
///
/// - `workers = 4`: how many loops the runtime has; 1 without it.
/// - `virtual_time`: the runtime has a clock of its own, which jumps to the next deadline when nothing runs. An hour of sleeps and timeouts then
///   takes no time, and goes the same way each time: see `eddies::time`. For one worker only.
/// - `crate = "path::to::eddies"`: where the macro finds the crate when it is renamed or re-exported; `::eddies` otherwise.
///
/// # Panics
///
/// When the runtime cannot be built (the system gives no thread or no file descriptor), with the system's reason in the message.
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand(Attr::Test, arguments.into(), item.into()).into()
}

/// Which of the two attributes is expanded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Attr {
    Main,
    Test,
}

impl Attr {
    fn name(self) -> &'static str {
        match self {
            Attr::Main => "#[eddies::main]",
            Attr::Test => "#[eddies::test]",
        }
    }
}

/// The function under the attribute. The body is kept as tokens.
struct AsyncFn {
    attributes: Vec<Attribute>,
    visibility: Visibility,
    signature: Signature,
    body: Group,
}

impl Parse for AsyncFn {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        Ok(AsyncFn {
            attributes: input.call(Attribute::parse_outer)?,
            visibility: input.parse()?,
            signature: input.parse()?,
            body: input.parse()?,
        })
    }
}

/// What stands in the attribute's parentheses.
#[derive(Default)]
struct Arguments {
    workers: Option<LitInt>,
    /// The word itself, to point at.
    virtual_time: Option<Ident>,
    krate: Option<Path>,
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut arguments = Arguments::default();
        while !input.is_empty() {
            arguments.parse_one(input)?;
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(arguments)
    }
}

impl Arguments {
    fn parse_one(&mut self, input: ParseStream<'_>) -> Result<()> {
        let name = input.call(Ident::parse_any)?;
        let twice = || Error::new(name.span(), format!("`{name}` is given twice"));
        if name == "workers" {
            input.parse::<Token![=]>()?;
            let count: LitInt =
                input.parse().map_err(|e| Error::new(e.span(), "`workers` takes a number: `workers = 4`"))?;
            if count.base10_parse::<usize>()? == 0 {
                return Err(Error::new(
                    count.span(),
                    "a runtime has at least one worker: `workers = 1` is the single-threaded one",
                ));
            }
            self.workers.replace(count).map_or(Ok(()), |_| Err(twice()))
        } else if name == "virtual_time" {
            if input.peek(Token![=]) {
                return Err(input.error("`virtual_time` takes no value: write it to have it, leave it away to not"));
            }
            let word = name.clone();
            self.virtual_time.replace(word).map_or(Ok(()), |_| Err(twice()))
        } else if name == "crate" {
            input.parse::<Token![=]>()?;
            let path = if input.peek(LitStr) {
                let text: LitStr = input.parse()?;
                text.parse_with(Path::parse_mod_style)
            } else {
                input.call(Path::parse_mod_style)
            };
            let path =
                path.map_err(|e| Error::new(e.span(), "`crate` takes a path: `crate = \"path::to::eddies\"`"))?;
            self.krate.replace(path).map_or(Ok(()), |_| Err(twice()))
        } else {
            let message = format!(
                "unknown argument `{name}`: there are `workers = 4`, `crate = \"path::to::eddies\"` and, for tests, `virtual_time`"
            );
            Err(Error::new(name.span(), message))
        }
    }
}

fn expand(attr: Attr, arguments: Tokens, item: Tokens) -> Tokens {
    let function = match syn::parse2::<AsyncFn>(item.clone()) {
        Ok(function) => function,
        Err(_) => {
            let message = format!("{} goes on a function: `async fn name() {{ .. }}`", attr.name());
            let error = Error::new(Span::call_site(), message).into_compile_error();
            return quote!(#item #error);
        }
    };
    let arguments = syn::parse2::<Arguments>(arguments).and_then(|arguments| {
        check(attr, &function)?;
        check_clock(attr, &arguments)?;
        Ok(arguments)
    });
    match arguments {
        Ok(arguments) => generate(attr, &arguments, &function),
        Err(error) => with_stand_in(&function, &error),
    }
}

/// Says no to what the attributes cannot run, and what to write in its place.
fn check(attr: Attr, function: &AsyncFn) -> Result<()> {
    let (attr_name, signature) = (attr.name(), &function.signature);
    let (name, generics) = (&signature.ident, &signature.generics);
    let second_test =
        function.attributes.iter().find(|a| a.path().segments.last().is_some_and(|last| last.ident == "test"));
    if signature.asyncness.is_none() {
        let keyword = &signature.fn_token;
        refuse(keyword, format!("{attr_name} runs an async function: write `async fn {name}`"))
    } else if !signature.inputs.is_empty() {
        refuse(&signature.inputs, format!("{attr_name} calls `{name}` without arguments: write `async fn {name}()`"))
    } else if !generics.params.is_empty() {
        refuse(generics, format!("{attr_name} cannot choose generic arguments for `{name}`: write concrete types"))
    } else if let Some(clause) = &generics.where_clause {
        refuse(clause, format!("{attr_name} cannot choose generic arguments for `{name}`: remove the where clause"))
    } else if let Some(token) = &signature.unsafety {
        refuse(token, format!("{attr_name} cannot keep the promises of an unsafe function: write `async fn {name}`"))
    } else if let Some(abi) = &signature.abi {
        refuse(abi, format!("{attr_name} makes an ordinary Rust function: remove the ABI"))
    } else if let (Attr::Test, Some(second)) = (attr, second_test) {
        refuse(second, format!("{attr_name} makes a test already: remove this attribute, or the test runs twice"))
    } else {
        Ok(())
    }
}

/// Says no to a virtual clock where there can be none.
fn check_clock(attr: Attr, arguments: &Arguments) -> Result<()> {
    let Some(word) = &arguments.virtual_time else { return Ok(()) };
    if attr == Attr::Main {
        return refuse(
            word,
            "virtual time is for tests: a program whose clock jumps has `Runtime::builder().virtual_time(true)`"
                .to_owned(),
        );
    }
    match &arguments.workers {
        Some(count) if count.base10_parse::<usize>()? != 1 => refuse(
            count,
            "virtual time needs one worker, for its clock moves when nothing runs: leave `workers` away, or `virtual_time`".to_owned(),
        ),
        _ => Ok(()),
    }
}

fn refuse(tokens: impl ToTokens, message: String) -> Result<()> {
    Err(Error::new_spanned(tokens, message))
}

/// The error, and in place of the function one of the same name, so that the compiler does not also report that it is missing.
fn with_stand_in(function: &AsyncFn, error: &Error) -> Tokens {
    let (error, name) = (error.to_compile_error(), &function.signature.ident);
    quote! {
        #error
        fn #name() {}
    }
}

/// The ordinary function around the async one. Only the `error` of a closure is named here, so nothing can shadow what the body names.
fn generate(attr: Attr, arguments: &Arguments, function: &AsyncFn) -> Tokens {
    let AsyncFn { attributes, visibility, signature, body } = function;
    let (name, output) = (&signature.ident, &signature.output);
    let krate = arguments.krate.as_ref().map_or_else(|| quote!(::eddies), ToTokens::to_token_stream);
    let workers = match (&arguments.workers, attr) {
        (Some(count), _) => quote!(.workers(#count)),
        (None, Attr::Test) => quote!(.workers(1)),
        (None, Attr::Main) => Tokens::new(),
    };
    let virtual_time = arguments.virtual_time.as_ref().map(|word| quote!(.#word(true)));
    let test = (attr == Attr::Test).then(|| quote!(#[::core::prelude::v1::test]));
    let message = format!("{} could not build the runtime for `{name}`: {{error}}", attr.name());
    quote! {
        #(#attributes)*
        #test
        #visibility fn #name() #output {
            async fn #name() #output #body

            #krate::Runtime::builder()
                #workers
                #virtual_time
                .build()
                .unwrap_or_else(|error| ::core::panic!(#message))
                .block_on(#name())
        }
    }
}
