"""Finance pages of what people do to the books: periods, proposed entries, comments, attachments, the finance log."""
