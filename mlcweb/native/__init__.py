"""What numpy is too slow for, as TIR that LLVM compiles for this CPU, in the process, when it is first used."""
