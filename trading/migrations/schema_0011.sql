-- Whether the owner of the lease's epoch holds the shard's advisory lock. Who takes a lease that has expired gets that
-- lock only when the old owner's session is gone, and until then a free lock says nothing about the new owner.
ALTER TABLE worker_lease ADD COLUMN locked_epoch integer NOT NULL DEFAULT 0;
