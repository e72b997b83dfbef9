-- Run once by the owner of the warehouse. The user is the IAM role that Cippus runs as; it reads three tables.
CREATE USER "IAMR:cippus" PASSWORD DISABLE;
GRANT USAGE ON SCHEMA public TO "IAMR:cippus";
GRANT SELECT ON public.accounts, public.posts, public.testimonials TO "IAMR:cippus";
-- Lets it name the role that UNLOAD writes to S3 with (iam-redshift-unload.json), which trusts redshift.amazonaws.com.
GRANT ASSUMEROLE ON 'arn:aws:iam::123456789012:role/cippus-unload' TO "IAMR:cippus" FOR UNLOAD;
