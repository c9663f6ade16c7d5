
# The dashboard is readable HTML and becomes a string of C when nginx is made.

rcache_tab=`printf '\t'`

cat << END >> $NGX_MAKEFILE

$NGX_OBJS/ngx_http_rcache_dashboard.h: $ngx_addon_dir/src/admin/dashboard.html
${rcache_tab}sed -e 's/[\\\\"]/\\\\&/g' -e 's/^/"/' -e 's/\$\$/\\\\n"/' \\
${rcache_tab}    $ngx_addon_dir/src/admin/dashboard.html \\
${rcache_tab}    > \$@.new
${rcache_tab}mv \$@.new \$@

END
