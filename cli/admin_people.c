/* admin_people.c: `bulkhead user`, `group`, `account`. */
#include "admin.h"
#include "ldap_directory.h"
#include "settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct output_column user_columns[] = {{"name", "NAME", OUTPUT_TEXT},
						    {"full_name", "FULL NAME", OUTPUT_TEXT},
						    {"mail", "MAIL", OUTPUT_TEXT}};
static const struct output_column group_columns[] = {{"name", "NAME", OUTPUT_TEXT},
						     {"members", "MEMBERS", OUTPUT_NUMBER},
						     {"description", "DESCRIPTION", OUTPUT_TEXT}};
static const struct output_column account_columns[] = {{"name", "NAME", OUTPUT_TEXT},
						       {"role", "ROLE", OUTPUT_TEXT},
						       {"created", "CREATED", OUTPUT_TIME}};

static int user_list_run(const struct cli_context *context)
{
	return admin_list(context, "/api/v1/users", OUTPUT_COLUMNS(user_columns),
			  "No users yet; bulkhead user add NAME.");
}

static int user_add_run(const struct cli_context *context)
{
	json_t *groups = json_array(), *body;
	const char *group;

	for (size_t i = 0; (group = cli_value_at(context, "group", i)); i++)
		json_array_append_new(groups, json_string(group));
	body = json_pack("{s:s, s:o}", "name", cli_argument(context, 0), "groups", groups);
	if (cli_value(context, "full-name"))
		json_object_set_new(body, "full_name",
				    json_string(cli_value(context, "full-name")));
	if (cli_value(context, "mail"))
		json_object_set_new(body, "mail", json_string(cli_value(context, "mail")));
	return admin_call(context, "POST", "/api/v1/users", body, "user %s added",
			  cli_argument(context, 0));
}

static int remove_one(const struct cli_context *context, const char *kind)
{
	char path[256];

	if (!admin_name(context, cli_argument(context, 0)))
		return CLI_USAGE;
	snprintf(path, sizeof(path), "/api/v1/%ss/%s", kind, cli_argument(context, 0));
	return admin_call(context, "DELETE", path, NULL, "%s %s removed", kind,
			  cli_argument(context, 0));
}

static int user_remove_run(const struct cli_context *context)
{
	return remove_one(context, "user");
}

static int import(const struct cli_context *context, const char *path, const char *text)
{
	struct remote *remote;
	json_t *reply;
	int status = remote_open(context, &remote);

	if (status)
		return status;
	status = remote_send(remote, "POST", path, text, "text/csv", &reply);
	if (!status) {
		json_int_t count = json_integer_value(json_object_get(reply, "imported"));

		printf("%lld user%s imported\n", count, count == 1 ? "" : "s");
		json_decref(reply);
	}
	remote_close(remote);
	return status;
}

static int user_import_run(const struct cli_context *context)
{
	char *text;
	int status = settings_read(cli_argument(context, 0), 8 << 20, &text, NULL);

	if (status)
		return cli_fail(context, "%s: %s", cli_argument(context, 0), strerror(-status));
	status = import(context, "/api/v1/users/import", text);
	free(text);
	return status;
}

static const char *value_or(const struct cli_context *context, const char *name, const char *usual)
{
	const char *value = cli_value(context, name);

	return value ? value : usual;
}

static int user_import_ldap_run(const struct cli_context *context)
{
	struct ldap_question question = {
	    .uri = cli_argument(context, 0),
	    .base = cli_value(context, "base"),
	    .group_base = cli_value(context, "group-base"),
	    .filter = value_or(context, "filter",
			       "(|(objectClass=inetOrgPerson)(objectClass=posixAccount)"
			       "(&(objectClass=user)(!(objectClass=computer))))"),
	    .group_filter = value_or(context, "group-filter",
				     "(|(objectClass=groupOfNames)(objectClass=groupOfUniqueNames)"
				     "(objectClass=posixGroup)(objectClass=group))"),
	    .name_attribute = value_or(context, "name-attribute", "uid"),
	    .bind_dn = cli_value(context, "bind"),
	    .ca_file = cli_value(context, "tls-ca"),
	    .start_tls = cli_switch(context, "start-tls"),
	    .in_plain = cli_switch(context, "plain"),
	};
	char password[512] = "", problem[LDAP_PROBLEM_MAX];
	struct ldap_answer answer;
	int status;

	if (question.bind_dn) {
		if (settings_secret("Password for the directory",
				    cli_value(context, "password-file"), password))
			return cli_fail(
			    context,
			    "no terminal to ask for a password; pass --password-file FILE");
		question.password = password;
	}
	status = ldap_directory_read(&question, &answer, problem);
	explicit_bzero(password, sizeof(password));
	if (status)
		return cli_fail(context, "%s", problem);
	if (answer.left_out)
		fprintf(
		    stderr,
		    "left out %zu entries without a name of a-z 0-9 . _ @ - in \"%s\"; the first: "
		    "%s\n",
		    answer.left_out, question.name_attribute, answer.first_left_out);
	if (cli_switch(context, "dry-run")) {
		fputs(answer.csv, stdout);
		fprintf(stderr, "%zu users, %zu groups found; nothing was sent\n", answer.users,
			answer.groups);
	} else {
		status = import(context, "/api/v1/users/import?replace=true", answer.csv);
	}
	free(answer.csv);
	return status;
}

static int group_list_run(const struct cli_context *context)
{
	return admin_list(context, "/api/v1/groups", OUTPUT_COLUMNS(group_columns),
			  "No groups yet; bulkhead group add NAME.");
}

static int group_add_run(const struct cli_context *context)
{
	const char *description = cli_value(context, "description");

	return admin_call(context, "POST", "/api/v1/groups",
			  json_pack("{s:s, s:s}", "name", cli_argument(context, 0), "description",
				    description ? description : ""),
			  "group %s added", cli_argument(context, 0));
}

static int group_remove_run(const struct cli_context *context)
{
	return remove_one(context, "group");
}

static int member(const struct cli_context *context, const char *method, const char *done)
{
	char path[256];

	if (!admin_name(context, cli_argument(context, 0)) ||
	    !admin_name(context, cli_argument(context, 1)))
		return CLI_USAGE;
	snprintf(path, sizeof(path), "/api/v1/groups/%s/members/%s", cli_argument(context, 0),
		 cli_argument(context, 1));
	return admin_call(context, method, path, NULL, "%s %s %s", cli_argument(context, 1), done,
			  cli_argument(context, 0));
}

static int group_join_run(const struct cli_context *context)
{
	return member(context, "PUT", "is in");
}

static int group_leave_run(const struct cli_context *context)
{
	return member(context, "DELETE", "has left");
}

static int account_list_run(const struct cli_context *context)
{
	return admin_list(context, "/api/v1/accounts", OUTPUT_COLUMNS(account_columns), "No accounts.");
}

static int account_add_run(const struct cli_context *context)
{
	char password[512];

	if (settings_secret("One-time password for the new account",
			    cli_value(context, "password-file"), password))
		return cli_fail(context,
				"no terminal to ask for a password; pass --password-file FILE");
	return admin_call(context, "POST", "/api/v1/accounts",
			  json_pack("{s:s, s:s, s:s}", "name", cli_argument(context, 0), "role",
				    cli_value(context, "role"), "password", password),
			  "account %s added; its owner chooses a password at the first log-in",
			  cli_argument(context, 0));
}

static int account_remove_run(const struct cli_context *context)
{
	return remove_one(context, "account");
}

static const struct cli_option json_options[] = {ADMIN_JSON, {0}};
static const struct cli_option user_options[] = {
    {"full-name", "TEXT", "the user's full name", 0, false},
    {"mail", "ADDRESS", "mail address", 0, false},
    {"group", "GROUP", "put the user into GROUP; repeat for several", 'g', false},
    {0},
};
static const struct cli_option ldap_options[] = {
    {"base", "DN", "where users are, for example ou=people,dc=example,dc=com", 'b', true},
    {"group-base", "DN", "where groups are; usually --base", 0, false},
    {"filter", "FILTER", "which entries are users; usually all persons", 0, false},
    {"group-filter", "FILTER", "which entries are groups", 0, false},
    {"name-attribute", "NAME", "holds the user's name: uid, sAMAccountName; usually uid", 0, false},
    {"bind", "DN", "log in as DN; else anonymously", 'D', false},
    {"password-file", "FILE", "read the directory's password from FILE", 0, false},
    {"tls-ca", "FILE", "authority of the directory's certificate; usually the system's", 0, false},
    {"start-tls", NULL, "encrypt an ldap:// connection", 0, false},
    {"plain", NULL, "allow ldap:// without encryption", 0, false},
    {"dry-run", NULL, "print what would be imported and send nothing", 'n', false},
    {0},
};
static const struct cli_option group_options[] = {
    {"description", "TEXT", "what the group is", 0, false}, {0}};
static const struct cli_option account_options[] = {
    {"role", "ROLE", "owner, author, operator, helpdesk or auditor", 0, true},
    {"password-file", "FILE", "read the one-time password from FILE", 0, false},
    {0},
};

const struct cli_command admin_people_commands[] = {
    {"user list", "", "list users", NULL, NULL, json_options, 0, 0, user_list_run},
    {"user add", "NAME", "add a user", NULL, "bulkhead user add alice --group sales", user_options,
     1, 1, user_add_run},
    {"user remove", "NAME", "remove a user; backups stay", NULL, NULL, NULL, 1, 1, user_remove_run},
    {"user import", "FILE", "add or change users from comma-separated values",
     "Each line: name,full name,mail,groups separated by spaces. Groups that do not exist are "
     "made. A first line "
     "that begins with \"name\" is a heading. Either all lines are taken or none.",
     "bulkhead user import staff.csv", NULL, 1, 1, user_import_run},
    {"user import-ldap", "URI", "add or change users from a directory (LDAP, Active Directory)",
     "Users' groups become those of the directory: whoever left a group there leaves it here. "
     "Users "
     "that are gone from the directory stay until removed. The directory is asked from this "
     "computer; "
     "the server gets no password. Either all users are taken or none.",
     "bulkhead user import-ldap ldaps://ldap.example.com --base dc=example,dc=com", ldap_options, 1,
     1, user_import_ldap_run},
    {"group list", "", "list groups", NULL, NULL, json_options, 0, 0, group_list_run},
    {"group add", "NAME", "add a group", NULL, NULL, group_options, 1, 1, group_add_run},
    {"group remove", "NAME", "remove a group and what it was assigned", NULL, NULL, NULL, 1, 1,
     group_remove_run},
    {"group join", "GROUP USER", "put a user into a group", NULL, NULL, NULL, 2, 2, group_join_run},
    {"group leave", "GROUP USER", "take a user out of a group", NULL, NULL, NULL, 2, 2,
     group_leave_run},
    {"account list", "", "list administrators' accounts", NULL, NULL, json_options, 0, 0,
     account_list_run},
    {"account add", "NAME", "add an administrator's account", NULL,
     "bulkhead account add bob --role helpdesk", account_options, 1, 1, account_add_run},
    {"account remove", "NAME", "remove an account", NULL, NULL, NULL, 1, 1, account_remove_run},
    {0},
};
