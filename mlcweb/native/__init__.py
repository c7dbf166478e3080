"""Does in machine code what numpy is too slow for: TIR that LLVM compiles for this CPU when it is first used."""
