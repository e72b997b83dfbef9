-- Run once by the owner of the source database. The role reads three tables and writes nothing.
CREATE ROLE cippus_reader LOGIN;
-- Then give it a password: \password cippus_reader
GRANT USAGE ON SCHEMA public TO cippus_reader;
GRANT SELECT ON public.accounts, public.posts, public.testimonials TO cippus_reader;
-- Shows when other sessions' transactions began: rows that commit late are then not missed. pg_monitor includes it.
GRANT pg_read_all_stats TO cippus_reader;
-- Extraction reads windows along updated_at.
CREATE INDEX CONCURRENTLY IF NOT EXISTS accounts_updated_at ON public.accounts (updated_at);
CREATE INDEX CONCURRENTLY IF NOT EXISTS posts_updated_at ON public.posts (updated_at);
CREATE INDEX CONCURRENTLY IF NOT EXISTS testimonials_updated_at ON public.testimonials (updated_at);
