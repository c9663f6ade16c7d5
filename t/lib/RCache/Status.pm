# What redis_proxy_cache_status says, and those that judge its formats.
#
#     my $api = RCache::Status->of($nginx)->{zones}[0];

package RCache::Status;

use strict;
use warnings;

use Cpanel::JSON::XS qw(decode_json);

use RCache::Util qw(slurp spit wait_for);

# Debian's, which has the modules that deps.sh installs

my $python = '/usr/bin/python3';


# The JSON of the location /status.

sub of {
    my ($class, $nginx) = @_;

    return decode_json($nginx->get('/status?format=json')->body);
}


# The label of that name in the first zone; with more instances the sum of
# what is a number.

sub label {
    my ($class, $name, @nginx) = @_;

    my $sum = {};

    for my $nginx (@nginx) {
        my ($label) = grep { $_->{name} eq $name }
                      @{ $class->of($nginx)->{zones}[0]{labels} };
        add($sum, $label) if $label;
    }

    return $sum;
}


sub add {
    my ($sum, $more) = @_;

    for my $key (keys %$more) {
        my $value = $more->{$key};

        if (ref $value eq 'HASH') {
            add($sum->{$key} ||= {}, $value);

        } elsif (!ref $value && $value =~ /^-?[0-9.e-]+$/) {
            $sum->{$key} = ($sum->{$key} || 0) + $value;
        }
    }

    return;
}


# What a program says of an input; nothing, if it is content.

sub complaint {
    my ($dir, $input, @argv) = @_;

    spit("$dir/judged", $input);
    my $pid = open my $out, '-|';
    die "cannot fork: $!\n" if !defined $pid;

    if (!$pid) {
        open STDIN, '<', "$dir/judged";
        open STDERR, '>&', \*STDOUT;
        exec { $argv[0] } @argv or print "cannot run $argv[0]: $!\n";
        POSIX::_exit(127);
    }

    my $said = join '', <$out>;
    close $out;

    return $? ? ($said || "failed: $?") : $said;
}


sub promtool { return complaint(@_[0, 1], qw(promtool check metrics)) }


sub openmetrics {
    return complaint(@_[0, 1], $python, '-c', <<'EOF');
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
families = list(text_string_to_metric_families(sys.stdin.read()))
assert len(families) > 20
EOF
}


sub schema {
    my ($dir, $input, $schema) = @_;

    return complaint($dir, $input, $python, '-c', <<'EOF', $schema);
import json, sys, jsonschema
schema = json.load(open(sys.argv[1]))
jsonschema.Draft7Validator.check_schema(schema)
for e in jsonschema.Draft7Validator(schema).iter_errors(json.load(sys.stdin)):
    print(list(e.path), e.message)
EOF
}


1;
