"""Finance pages of deposits, withdrawals, custody accounts and customers, under /admin/finance/."""
