"""The vectors of contracts: `trading/VECTORS.md` traded as written, through services and through REST."""
