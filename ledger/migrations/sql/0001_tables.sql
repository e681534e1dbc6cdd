-- The books. Only ledger_post (0003_door.sql) writes them; triggers (0002_checks.sql) check every row.
--
-- Entries and lines carry no foreign keys: a foreign key costs a trigger call a row, and its plan, cached
-- on an empty table, has cost tenfold. The statement triggers check the same references set by set, and
-- since nothing here is ever deleted, a reference that was good when inserted stays good.

CREATE VIEW ledger_chart (code, name, face, bound, user_root, platform_root) AS
VALUES
    ('1010', 'wallet.available',     'BOTH',      1, 'ASSET',     'LIABILITY'),
    ('1020', 'wallet.order_hold',    'BOTH',      1, 'ASSET',     'LIABILITY'),
    ('1030', 'wallet.withdraw_hold', 'BOTH',      1, 'ASSET',     'LIABILITY'),
    ('1040', 'wallet.margin',        'BOTH',      1, 'ASSET',     'LIABILITY'),
    ('2010', 'debt',                 'BOTH',     -1, 'LIABILITY', 'ASSET'),
    ('3010', 'external',             'USER',      0, 'EQUITY',    NULL),
    ('3020', 'conversion',           'USER',      0, 'EQUITY',    NULL),
    ('4010', 'gain.realised',        'USER',      0, 'REVENUE',   NULL),
    ('4020', 'gain.funding',         'USER',      0, 'REVENUE',   NULL),
    ('4030', 'gain.rebate',          'USER',      0, 'REVENUE',   NULL),
    ('4040', 'gain.debt_forgiven',   'USER',      0, 'REVENUE',   NULL),
    ('5010', 'cost.realised',        'USER',      0, 'EXPENSE',   NULL),
    ('5020', 'cost.funding',         'USER',      0, 'EXPENSE',   NULL),
    ('5030', 'cost.fee',             'USER',      0, 'EXPENSE',   NULL),
    ('5040', 'cost.liquidation_fee', 'USER',      0, 'EXPENSE',   NULL),
    ('5050', 'cost.withdraw_fee',    'USER',      0, 'EXPENSE',   NULL),
    ('1110', 'custody',              'PLATFORM',  1, NULL,        'ASSET'),
    ('1190', 'suspense',             'PLATFORM',  0, NULL,        'ASSET'),
    ('2110', 'clearing',             'PLATFORM',  0, NULL,        'LIABILITY'),
    ('2120', 'funding_clearing',     'PLATFORM',  0, NULL,        'LIABILITY'),
    ('2130', 'insurance',            'PLATFORM', -1, NULL,        'LIABILITY'),
    ('3110', 'capital',              'PLATFORM',  0, NULL,        'EQUITY'),
    ('4110', 'revenue.trading_fee',  'PLATFORM',  0, NULL,        'REVENUE'),
    ('4120', 'revenue.withdraw_fee', 'PLATFORM',  0, NULL,        'REVENUE'),
    ('5110', 'expense.maker_rebate', 'PLATFORM',  0, NULL,        'EXPENSE'),
    ('5120', 'expense.network',      'PLATFORM',  0, NULL,        'EXPENSE'),
    ('5130', 'expense.bad_debt',     'PLATFORM',  0, NULL,        'EXPENSE');
COMMENT ON VIEW ledger_chart IS
    'The chart of accounts. face: whose journal a line stands in; bound: the sign a balance must keep.';

CREATE TABLE ledger_account (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner_id bigint,
    code     varchar(4) NOT NULL,
    asset    varchar(16) NOT NULL,
    sub      varchar(64) NOT NULL DEFAULT '',
    face     varchar(8) NOT NULL,
    bound    smallint NOT NULL,
    balance  numeric(38, 18) NOT NULL DEFAULT 0,
    CONSTRAINT ledger_account_key UNIQUE NULLS NOT DISTINCT (owner_id, code, asset, sub),
    CONSTRAINT ledger_account_owner CHECK ((owner_id IS NULL) = (face = 'PLATFORM')),
    CONSTRAINT ledger_account_bound CHECK (sign(balance) * bound >= 0)
) WITH (fillfactor = 60);
COMMENT ON COLUMN ledger_account.owner_id IS 'The user; NULL is the platform.';
COMMENT ON COLUMN ledger_account.face IS
    'With bound copied from the chart by a trigger; a generated column costs 15 microseconds an update.';
COMMENT ON COLUMN ledger_account.balance IS
    'Debit positive, in the user''s view where the account has one; always the last line''s balance_after.';

CREATE TABLE ledger_entry (
    id             bigint PRIMARY KEY,
    kind           varchar(32) NOT NULL,
    key            varchar(128) NOT NULL,
    effective_at   timestamptz NOT NULL,
    late           boolean NOT NULL,
    recorded_at    timestamptz NOT NULL,
    trace          varchar(64) NOT NULL,
    reverses       bigint,
    transaction_id xid8 NOT NULL,
    hash           bytea NOT NULL,
    CONSTRAINT ledger_entry_key UNIQUE (key),
    CONSTRAINT ledger_entry_reverses_earlier CHECK (reverses BETWEEN 1 AND id - 1),
    CONSTRAINT ledger_entry_id CHECK (id > 0),
    CONSTRAINT ledger_entry_hash CHECK (length(hash) = 32)
);
CREATE UNIQUE INDEX ledger_entry_reverses_once ON ledger_entry (reverses) WHERE reverses IS NOT NULL;
CREATE INDEX ledger_entry_recorded ON ledger_entry (recorded_at, id);
CREATE INDEX ledger_entry_late ON ledger_entry (effective_at, id) WHERE late;
CREATE INDEX ledger_entry_trace ON ledger_entry (trace);
CREATE INDEX ledger_entry_kind ON ledger_entry (kind, id);

CREATE TABLE ledger_line (
    entry_id      bigint NOT NULL,
    n             smallint NOT NULL,
    account_id    bigint NOT NULL,
    amount        numeric(38, 18) NOT NULL,
    balance_after numeric(38, 18) NOT NULL,
    PRIMARY KEY (entry_id, n),
    CONSTRAINT ledger_line_amount CHECK (amount <> 0),
    CONSTRAINT ledger_line_n CHECK (n > 0)
);
CREATE UNIQUE INDEX ledger_line_account ON ledger_line (account_id, entry_id, n) INCLUDE (balance_after);

-- One row, locked by whoever posts: ids are therefore dense and in commit order.
CREATE TABLE ledger_head (
    id          smallint PRIMARY KEY DEFAULT 1,
    entry_id    bigint NOT NULL,
    hash        bytea NOT NULL,
    recorded_at timestamptz NOT NULL,
    CONSTRAINT ledger_head_single CHECK (id = 1)
);
INSERT INTO ledger_head (entry_id, hash, recorded_at) VALUES (0, sha256(''), '-infinity');

CREATE VIEW user_journal AS
SELECT l.entry_id, l.n, e.kind, e.key, e.effective_at, e.recorded_at, e.late, e.trace, e.reverses,
       a.owner_id, a.code, c.name AS account, c.user_root AS root, a.asset, a.sub, l.account_id,
       l.amount, l.balance_after
FROM ledger_line l
JOIN ledger_entry e ON e.id = l.entry_id
JOIN ledger_account a ON a.id = l.account_id
JOIN ledger_chart c ON c.code = a.code
WHERE a.face IN ('BOTH', 'USER');

CREATE VIEW platform_journal AS
SELECT l.entry_id, l.n, e.kind, e.key, e.effective_at, e.recorded_at, e.late, e.trace, e.reverses,
       a.owner_id, a.code,
       CASE
           WHEN a.code = '2010' THEN 'receivable'
           WHEN a.face = 'BOTH' THEN replace(c.name, 'wallet.', 'user.')
           ELSE c.name
       END AS account,
       c.platform_root AS root, a.asset, a.sub, l.account_id,
       CASE WHEN a.face = 'BOTH' THEN -l.amount ELSE l.amount END AS amount,
       CASE WHEN a.face = 'BOTH' THEN -l.balance_after ELSE l.balance_after END AS balance_after
FROM ledger_line l
JOIN ledger_entry e ON e.id = l.entry_id
JOIN ledger_account a ON a.id = l.account_id
JOIN ledger_chart c ON c.code = a.code
WHERE a.face IN ('BOTH', 'PLATFORM');
