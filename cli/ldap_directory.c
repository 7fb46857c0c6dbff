/* ldap_directory.c: see ldap_directory.h. */
#include "ldap_directory.h"
#include "trust/strict_json.h"

#include <errno.h>
#include <ldap.h>
#include <openldap.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/time.h>
#include <unistd.h>

#define PAGE	      500
#define WAIT_SECONDS  30
#define ENTRIES_MAX   200000
#define PAGES_MAX     10000 /* empty ones without end are no answer */
#define VALUE_MAX     256
#define MESSAGE_MAX   (16u << 20) /* an entry: a group with some 100,000 members */
#define GROUPS_A_USER 64

struct person {
	char *dn, *name, *full_name, *mail;
	char *groups[GROUPS_A_USER];
	size_t group_count;
};

struct reading {
	const struct ldap_question *question;
	LDAP *ldap;
	struct person *people;
	size_t count, capacity, groups, left_out;
	char first_left_out[128];
	char *problem;
};

static int fail(struct reading *reading, int status, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(reading->problem, LDAP_PROBLEM_MAX, format, arguments);
	va_end(arguments);
	return status;
}

static int refuse(struct reading *reading, int result, const char *doing, const char *remedy)
{
	char *more = NULL;

	ldap_get_option(reading->ldap, LDAP_OPT_DIAGNOSTIC_MESSAGE, &more);
	fail(reading, -EIO, "%s: %s: %s%s%s; %s", reading->question->uri, doing,
	     ldap_err2string(result), more && *more ? ": " : "", more ? more : "", remedy);
	ldap_memfree(more);
	return -EIO;
}

/* A directory says how long its message will be, and libldap believes it up to 4 GiB. */
static void bound_messages(LDAP *ldap)
{
	ber_len_t most = MESSAGE_MAX;
	Sockbuf *connection = NULL;

	if (!ldap_get_option(ldap, LDAP_OPT_SOCKBUF, &connection) && connection)
		ber_sockbuf_ctrl(connection, LBER_SB_OPT_SET_MAX_INCOMING, &most);
}

static int connect_and_bind(struct reading *reading)
{
	const struct ldap_question *question = reading->question;
	const char *password = question->password ? question->password : "";
	struct berval secret = {strlen(password), (char *)password};
	struct timeval wait = {WAIT_SECONDS, 0};
	int version = LDAP_VERSION3, demand = LDAP_OPT_X_TLS_DEMAND, fresh = 0;
	bool is_plain = !strncasecmp(question->uri, "ldap://", 7);
	int result;

	if (is_plain && !question->start_tls && !question->in_plain)
		return fail(reading, -EPERM,
			    "%s: anyone on the way could read the password and change the answer; "
			    "use ldaps://, --start-tls, or --plain on a network of your own",
			    question->uri);
	if (ldap_initialize(&reading->ldap, question->uri))
		return fail(reading, -EINVAL, "%s: not an LDAP URI; write ldaps://HOST",
			    question->uri);
	bound_messages(reading->ldap);
	ldap_set_option(reading->ldap, LDAP_OPT_PROTOCOL_VERSION, &version);
	ldap_set_option(reading->ldap, LDAP_OPT_NETWORK_TIMEOUT, &wait);
	ldap_set_option(reading->ldap, LDAP_OPT_TIMEOUT, &wait);
	ldap_set_option(reading->ldap, LDAP_OPT_REFERRALS, LDAP_OPT_OFF);
	ldap_set_option(reading->ldap, LDAP_OPT_X_TLS_REQUIRE_CERT, &demand);
	if (question->ca_file)
		ldap_set_option(reading->ldap, LDAP_OPT_X_TLS_CACERTFILE, question->ca_file);
	ldap_set_option(reading->ldap, LDAP_OPT_X_TLS_NEWCTX, &fresh);
	if (is_plain && question->start_tls) {
		result = ldap_start_tls_s(reading->ldap, NULL, NULL);
		if (result)
			return refuse(reading, result, "TLS",
				      "name the directory's authority with --tls-ca FILE");
	}
	result = ldap_sasl_bind_s(reading->ldap, question->bind_dn, LDAP_SASL_SIMPLE, &secret, NULL,
				  NULL, NULL);
	return result ? refuse(reading, result, "cannot log in",
			       "see that it runs, that its certificate has this name, "
			       "and check --bind, the password and --tls-ca")
		      : 0;
}

static char *value_of(LDAP *ldap, LDAPMessage *entry, const char *attribute)
{
	struct berval **values = ldap_get_values_len(ldap, entry, attribute);
	char *text = NULL;

	if (values && values[0] && values[0]->bv_len && values[0]->bv_len < VALUE_MAX &&
	    !memchr(values[0]->bv_val, 0, values[0]->bv_len))
		text = strndup(values[0]->bv_val, values[0]->bv_len);
	ldap_value_free_len(values);
	return text;
}

/* A name as the server takes it: small letters, '-' for blanks. False: it cannot be one. */
static bool to_name(char *text)
{
	for (char *c = text; *c; c++)
		*c = *c == ' ' ? '-' : *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c;
	return strict_json_is_name(text);
}

static void leave_out(struct reading *reading, const char *dn)
{
	if (!reading->left_out++)
		snprintf(reading->first_left_out, sizeof(reading->first_left_out), "%s",
			 dn ? dn : "an entry");
}

static int take_person(struct reading *reading, LDAPMessage *entry)
{
	char *dn = ldap_get_dn(reading->ldap, entry);
	char *name = value_of(reading->ldap, entry, reading->question->name_attribute);
	struct person *larger, *person;

	if (!dn || !name || !to_name(name)) {
		leave_out(reading, dn);
		ldap_memfree(dn);
		free(name);
		return 0;
	}
	if (reading->count == reading->capacity) {
		reading->capacity = reading->capacity ? reading->capacity * 2 : 64;
		larger = realloc(reading->people, reading->capacity * sizeof(*larger));
		if (!larger) {
			ldap_memfree(dn);
			free(name);
			return -ENOMEM;
		}
		reading->people = larger;
	}
	person = &reading->people[reading->count++];
	memset(person, 0, sizeof(*person));
	person->dn = strdup(dn);
	person->name = name;
	person->full_name = value_of(reading->ldap, entry, "displayName");
	if (!person->full_name)
		person->full_name = value_of(reading->ldap, entry, "cn");
	person->mail = value_of(reading->ldap, entry, "mail");
	ldap_memfree(dn);
	return person->dn ? 0 : -ENOMEM;
}

static int join(struct reading *reading, struct person *person, const char *group)
{
	for (size_t i = 0; i < person->group_count; i++)
		if (!strcmp(person->groups[i], group))
			return 0;
	if (person->group_count == GROUPS_A_USER)
		return fail(reading, -E2BIG,
			    "%s is in more than %d groups; narrow them with --group-filter",
			    person->name, GROUPS_A_USER);
	person->groups[person->group_count] = strdup(group);
	return person->groups[person->group_count++] ? 1 : -ENOMEM;
}

/* Members are names of entries (member, uniqueMember) or of users (memberUid). */
static int join_all(struct reading *reading, LDAPMessage *entry, const char *group,
		    const char *attribute, bool by_name)
{
	struct berval **values = ldap_get_values_len(reading->ldap, entry, attribute);
	int status = 0;

	for (size_t i = 0; values && values[i] && status >= 0; i++)
		for (size_t p = 0; p < reading->count && status >= 0; p++) {
			struct person *person = &reading->people[p];
			const char *known = by_name ? person->name : person->dn;

			if (strlen(known) == values[i]->bv_len &&
			    !strncasecmp(known, values[i]->bv_val, values[i]->bv_len))
				status = join(reading, person, group);
		}
	ldap_value_free_len(values);
	return status;
}

static int take_group(struct reading *reading, LDAPMessage *entry)
{
	char *dn = ldap_get_dn(reading->ldap, entry);
	char *group = value_of(reading->ldap, entry, "cn");
	int status = 0;

	if (!group || !to_name(group)) {
		leave_out(reading, dn);
	} else {
		reading->groups++;
		status = join_all(reading, entry, group, "member", false);
		if (status >= 0)
			status = join_all(reading, entry, group, "uniqueMember", false);
		if (status >= 0)
			status = join_all(reading, entry, group, "memberUid", true);
	}
	ldap_memfree(dn);
	free(group);
	return status < 0 ? status : 0;
}

/* One search in pages; @take gets every entry. */
static int search(struct reading *reading, const char *base, const char *filter, char **attributes,
		  int (*take)(struct reading *, LDAPMessage *))
{
	struct berval cookie = {0, NULL};
	size_t seen = 0, pages = 0;
	int status = 0;

	do {
		LDAPControl *page = NULL, *controls[2] = {NULL, NULL}, **returned = NULL, *found;
		LDAPMessage *answer = NULL;
		struct timeval wait = {WAIT_SECONDS, 0};
		ber_int_t estimate;
		int result;

		if (ldap_create_page_control(reading->ldap, PAGE, cookie.bv_val ? &cookie : NULL, 0,
					     &page))
			return -ENOMEM;
		controls[0] = page;
		result = ldap_search_ext_s(reading->ldap, base, LDAP_SCOPE_SUBTREE, filter,
					   attributes, 0, controls, NULL, &wait, 0, &answer);
		ldap_control_free(page);
		ber_memfree(cookie.bv_val);
		cookie = (struct berval){0, NULL};
		if (result)
			status = refuse(reading, result, base, "check --base and --filter");
		else if (++pages > PAGES_MAX)
			status = fail(reading, -E2BIG, "%s: more than %d pages of answers; narrow --base or "
						       "--filter, or ask another directory",
				      base, PAGES_MAX);
		/* libldap asserts that there is an answer; a directory that goes away gives none. */
		for (LDAPMessage *entry = answer ? ldap_first_entry(reading->ldap, answer) : NULL;
		     entry && !status; entry = ldap_next_entry(reading->ldap, entry)) {
			if (++seen > ENTRIES_MAX)
				status = fail(reading, -E2BIG,
					      "%s: more than %d entries; narrow --base or --filter",
					      base, ENTRIES_MAX);
			else
				status = take(reading, entry);
		}
		if (!status && answer &&
		    !ldap_parse_result(reading->ldap, answer, NULL, NULL, NULL, NULL, &returned,
				       0)) {
			found = ldap_control_find(LDAP_CONTROL_PAGEDRESULTS, returned, NULL);
			if (found)
				ldap_parse_pageresponse_control(reading->ldap, found, &estimate,
								&cookie);
			ldap_controls_free(returned);
		}
		ldap_msgfree(answer);
	} while (!status && cookie.bv_len);
	ber_memfree(cookie.bv_val);
	return status;
}

/* A field in quotes, line ends as blanks. */
static void put_field(FILE *out, const char *text)
{
	fputc('"', out);
	for (const char *c = text ? text : ""; *c; c++) {
		if (*c == '"')
			fputc('"', out);
		fputc(*c == '\n' || *c == '\r' ? ' ' : *c, out);
	}
	fputc('"', out);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct person *)a)->name, ((const struct person *)b)->name);
}

static int write_csv(struct reading *reading, char **csv)
{
	size_t bytes;
	FILE *out = open_memstream(csv, &bytes);

	if (!out)
		return -ENOMEM;
	if (reading->count)
		qsort(reading->people, reading->count, sizeof(*reading->people), by_name);
	fputs("name,full name,mail,groups\n", out);
	for (size_t i = 0; i < reading->count; i++) {
		const struct person *person = &reading->people[i];

		fprintf(out, "%s,", person->name);
		put_field(out, person->full_name);
		fputc(',', out);
		put_field(out, person->mail);
		fputc(',', out);
		for (size_t g = 0; g < person->group_count; g++)
			fprintf(out, "%s%s", g ? " " : "", person->groups[g]);
		fputc('\n', out);
	}
	return fclose(out) ? -ENOMEM : 0;
}

static void release(struct reading *reading)
{
	for (size_t i = 0; i < reading->count; i++) {
		struct person *person = &reading->people[i];

		free(person->dn);
		free(person->name);
		free(person->full_name);
		free(person->mail);
		for (size_t g = 0; g < person->group_count; g++)
			free(person->groups[g]);
	}
	free(reading->people);
	if (reading->ldap)
		ldap_unbind_ext_s(reading->ldap, NULL, NULL);
}

/* Asks the directory that is connected, and writes down what it says. */
static int read_all(struct reading *reading, struct ldap_answer *answer)
{
	const struct ldap_question *question = reading->question;
	char *person_attributes[] = {(char *)question->name_attribute, (char *)"displayName",
				     (char *)"cn", (char *)"mail", NULL};
	char *group_attributes[] = {(char *)"cn", (char *)"member", (char *)"uniqueMember",
				    (char *)"memberUid", NULL};
	int status;

	status = search(reading, question->base, question->filter, person_attributes, take_person);
	if (!status)
		status =
		    search(reading, question->group_base ? question->group_base : question->base,
			   question->group_filter, group_attributes, take_group);
	if (!status && !reading->count)
		status = fail(reading, -ENOENT,
			      "%s: no user below %s matches; check --base, --filter and "
			      "--name-attribute",
			      question->uri, question->base);
	if (!status)
		status = write_csv(reading, &answer->csv);
	answer->users = reading->count;
	answer->groups = reading->groups;
	answer->left_out = reading->left_out;
	memcpy(answer->first_left_out, reading->first_left_out, sizeof(answer->first_left_out));
	return status;
}

static void begin(const struct ldap_question *question, struct ldap_answer *answer, char *problem)
{
	snprintf(problem, LDAP_PROBLEM_MAX, "%s: out of memory", question->uri);
	memset(answer, 0, sizeof(*answer));
}

int ldap_directory_read(const struct ldap_question *question, struct ldap_answer *answer,
			char problem[LDAP_PROBLEM_MAX])
{
	struct reading reading = {.question = question, .problem = problem};
	int status;

	begin(question, answer, problem);
	status = connect_and_bind(&reading);
	if (!status)
		status = read_all(&reading, answer);
	release(&reading);
	return status;
}

int ldap_directory_read_file(const struct ldap_question *question, int file,
			     struct ldap_answer *answer, char problem[LDAP_PROBLEM_MAX])
{
	struct reading reading = {.question = question, .problem = problem};
	int version = LDAP_VERSION3, status = 0;

	begin(question, answer, problem);
	if (ldap_init_fd(file, LDAP_PROTO_TCP, question->uri, &reading.ldap)) {
		close(file);
		status = fail(&reading, -EINVAL, "%s: not an LDAP URI", question->uri);
	} else {
		bound_messages(reading.ldap);
		ldap_set_option(reading.ldap, LDAP_OPT_PROTOCOL_VERSION, &version);
		status = read_all(&reading, answer);
	}
	release(&reading);
	return status;
}
