"""What Django's ORM lacks: a retry, deadlines, SQLite's file, Citus, and migrations while senders post."""
